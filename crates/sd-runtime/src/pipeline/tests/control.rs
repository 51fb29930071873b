//! Facts about ControlNets: which steps they guide, what they are given, and which fit.

use std::sync::{Arc, Mutex};

use super::*;
use crate::engine::{Engine, EngineError, LoadWith, Signature, Tensors};
use crate::image::{Filter, Size};

const RESIDUALS: [&str; 2] = ["additional_residual_0", "additional_residual_1"];

/// The residuals: one as the latents, one of two channels of a pixel.
fn residuals(batch: usize) -> Vec<Feature> {
    let [c, h, w] = LATENT;
    let shapes = [[batch, c, h, w], [batch, 2, 1, 1]];
    RESIDUALS.into_iter().zip(shapes).map(|(name, shape)| Feature::new(name, DType::F32, shape)).collect()
}

/// The fake UNet's noise, with the first residual's value and the sum of the second added.
fn controlled_unet(batch: usize) -> Fake {
    let Signature { mut inputs, outputs } = fake::unet(batch, DType::F32).signature.clone();
    inputs.extend(residuals(batch));
    let n: usize = LATENT.iter().product();
    Fake::new(inputs, outputs, move |inputs| {
        let values = |name: &str| inputs[name].to_f32_vec();
        let (sample, t, hidden) = (values("sample"), values("timestep"), values("encoder_hidden_states"));
        let (first, second) = (values(RESIDUALS[0]), values(RESIDUALS[1]));
        let noise = (0..batch * n).map(|i| {
            let row = i / n;
            let own = fake::noise(sample[i], t[row], hidden[row * WIDTH * LENGTH + 1]);
            own + first[i] + second[2 * row] + second[2 * row + 1]
        });
        let [c, h, w] = LATENT;
        Ok(Tensors::from([("noise_pred".to_owned(), HostTensor::from_f32([batch, c, h, w], noise.collect()))]))
    })
}

/// Residuals: `sample/4 + text`, and the picture's first value and the time step in thousands.
fn control_net(batch: usize) -> Fake {
    let mut inputs = fake::unet(batch, DType::F32).signature.inputs.clone();
    let [_, h, w] = LATENT;
    inputs.push(Feature::new("controlnet_cond", DType::F32, [batch, 3, 2 * h, 2 * w]));
    let n: usize = LATENT.iter().product();
    Fake::new(inputs, residuals(batch), move |inputs| {
        let values = |name: &str| inputs[name].to_f32_vec();
        let (sample, t, hidden) = (values("sample"), values("timestep"), values("encoder_hidden_states"));
        let picture = values("controlnet_cond");
        let text = |row: usize| hidden[row * WIDTH * LENGTH + 1];
        let first = (0..batch * n).map(|i| sample[i] / 4.0 + text(i / n)).collect();
        let second = (0..batch).flat_map(|row| [picture[row * 12 * h * w], t[row] / 1000.0]).collect();
        let [c, h, w] = LATENT;
        let outputs = [HostTensor::from_f32([batch, c, h, w], first), HostTensor::from_f32([batch, 2, 1, 1], second)];
        Ok(RESIDUALS.map(str::to_owned).into_iter().zip(outputs).collect())
    })
}

/// A pipeline whose UNet is guided by these nets.
fn controlled(unet: Fake, nets: Vec<Fake>) -> Models {
    let mut models = fake::models(fake::unet(2, DType::F32));
    models.remove(&Role::UNet.into());
    models.insert(Role::ControlledUNet.into(), Box::new(unet));
    for (idx, net) in nets.into_iter().enumerate() {
        models.insert(Part::numbered(Role::ControlNet, idx), Box::new(net));
    }
    models
}

/// A picture of one grey.
fn grey(value: u8) -> ControlPicture {
    ControlPicture::new(RgbImage::new(4, 4, vec![value; 48]).unwrap())
}

/// The loop written out: each net adds from one step to another.
fn by_hand(options: &GenerateOptions, is_on: &dyn Fn(usize, usize) -> [bool; 2]) -> Vec<f32> {
    let mut scheduler = fake::config().scheduler.build(None, options.steps).unwrap();
    let mut source = NumpyRandom::new(options.seed as u32);
    let mut latents = source.normals_f16(LATENT.iter().product());
    scheduler.start(None, &mut latents);
    let texts = [text_of(options.negative_prompt.as_deref().unwrap_or_default()), text_of(&options.prompt)];
    let timesteps = scheduler.timesteps().to_vec();
    for (i, &t) in timesteps.iter().enumerate() {
        let mut input = latents.clone();
        scheduler.scale_model_input(i, &mut input);
        let on = is_on(i, timesteps.len());
        let noise = |x: f32, text: f32| {
            let added = options.controls.iter().zip(on).filter(|(_, is_on)| *is_on).map(|(control, _)| {
                let picture = f32::from(control.image.pixels()[0]) / 255.0;
                control.weight * (x / 4.0 + text + picture + t / 1000.0)
            });
            fake::noise(x, t, text) + added.sum::<f32>()
        };
        let guided = |x: f32| match options.is_guided() {
            true => noise(x, texts[0]) + options.guidance_scale * (noise(x, texts[1]) - noise(x, texts[0])),
            false => noise(x, texts[1]),
        };
        let noise: Vec<f32> = input.into_iter().map(guided).collect();
        scheduler.step(i, &noise, &mut latents, &mut source).unwrap();
    }
    latents
}

fn draw(models: Models, options: &GenerateOptions) -> Vec<f32> {
    let mut pipeline = DiffusionPipeline::new(models, fake::config()).unwrap();
    pipeline.generate(options, &Stop::never(), &mut go).unwrap().images[0].latents.to_f32_vec()
}

#[test]
fn nets_add_what_they_see_times_their_weight_in_their_share_of_the_steps() {
    let first = ControlPicture { weight: 0.5, end: 0.6, ..grey(51) };
    let second = ControlPicture { weight: -0.25, start: 0.3, ..grey(255) };
    for guidance_scale in [3.0, 1.0] {
        let controls = vec![first.clone(), second.clone()];
        let options = GenerateOptions { controls, guidance_scale, negative_prompt: Some("blue".into()), ..options() };
        // PNDM evaluates five times for four steps, which is what diffusers counts.
        let want = by_hand(&options, &|i, n| [i < n * 6 / 10, i * 10 >= n * 3]);
        for (unet, nets) in [(2, [2, 2]), (1, [1, 1]), (2, [1, 2]), (1, [2, 1])] {
            let got = draw(controlled(controlled_unet(unet), nets.map(control_net).into()), &options);
            testkit::assert_all_close(&format!("{unet} {nets:?}"), &want, &got, 1e-5, 1e-5);
        }
    }
}

#[test]
fn a_net_that_is_off_is_not_run_and_the_unet_is_given_zeros() {
    let (unet, net) = (controlled_unet(2), control_net(2));
    let (of_unet, of_net) = (unet.calls.clone(), net.calls.clone());
    let options = GenerateOptions { controls: vec![ControlPicture { start: 0.4, end: 0.8, ..grey(9) }], ..options() };
    draw(controlled(unet, vec![net]), &options);
    assert_eq!(of_net.lock().unwrap().len(), 2);
    let is_zero = |call: &Tensors| call[RESIDUALS[0]].to_f32_vec().iter().all(|x| *x == 0.0);
    let zeros: Vec<bool> = of_unet.lock().unwrap().iter().map(is_zero).collect();
    assert_eq!(zeros, [true, true, false, false, true]);
}

#[test]
fn a_unet_for_controlnets_draws_without_them_what_the_plain_one_does() {
    let plain = draw(fake::models(fake::unet(2, DType::F32)), &options());
    assert_eq!(draw(controlled(controlled_unet(2), Vec::new()), &options()), plain);
    assert_eq!(draw(controlled(controlled_unet(2), vec![control_net(2)]), &options()), plain);
    let off = GenerateOptions { controls: vec![ControlPicture { weight: 0.0, ..grey(9) }], ..options() };
    assert_eq!(draw(controlled(controlled_unet(2), vec![control_net(2)]), &off), plain);
}

#[test]
fn the_picture_is_scaled_to_what_the_net_takes() {
    let net = control_net(2);
    let calls = net.calls.clone();
    let [_, h, w] = LATENT;
    let size = Size { width: 2 * w, height: 2 * h };
    let picture = ControlPicture::new(sketch().resize(Size { width: 31, height: 7 }, Filter::Box));
    let options = GenerateOptions { controls: vec![picture.clone()], ..options() };
    draw(controlled(controlled_unet(2), vec![net]), &options);
    let planes = picture.planes(size).unwrap();
    assert_eq!(calls.lock().unwrap()[0]["controlnet_cond"].to_f32_vec(), planes.repeat(2));
}

#[test]
fn there_is_a_picture_for_each_net_or_none() {
    let error = |models: Models, n_pictures: usize| {
        let options = GenerateOptions { controls: vec![grey(9); n_pictures], ..options() };
        let mut pipeline = DiffusionPipeline::new(models, fake::config()).unwrap();
        pipeline.generate(&options, &Stop::never(), &mut go).unwrap_err().to_string()
    };
    let none = error(fake::models(fake::unet(2, DType::F32)), 1);
    assert!(none.contains("the pipeline has none"), "{none}");
    let few = error(controlled(controlled_unet(2), vec![control_net(2), control_net(2)]), 1);
    assert!(few.contains("2 ControlNets take a picture each, and 1 were given"), "{few}");
    let window = GenerateOptions { controls: vec![ControlPicture { start: 0.6, end: 0.5, ..grey(9) }], ..options() };
    let mut pipeline =
        DiffusionPipeline::new(controlled(controlled_unet(2), vec![control_net(2)]), fake::config()).unwrap();
    let error = pipeline.generate(&window, &Stop::never(), &mut go).unwrap_err().to_string();
    assert!(error.contains("from 0.6 to 0.5 of the steps"), "{error}");
}

#[test]
fn nets_of_other_models_are_named() {
    let said = |change: &dyn Fn(&mut Signature)| {
        let (unet, mut net) = (controlled_unet(2), control_net(2));
        change(&mut net.signature);
        DiffusionPipeline::new(controlled(unet, vec![control_net(2), net]), fake::config()).map(drop).unwrap_err()
    };
    let f32s = |name: &str, shape: &[usize]| Feature::new(name, DType::F32, shape);
    type Change<'a> = &'a dyn Fn(&mut Signature);
    let cases: [(Change<'_>, &str); 7] = [
        (&|s| s.inputs[2].shape = [2, 1024, 1, LENGTH].into(), "2 of 2 takes text of 1024, the UNet of 6"),
        (&|s| s.inputs[2].shape = [2, WIDTH, 1, 256].into(), "takes texts of 256 tokens, the UNet of 77"),
        (&|s| s.inputs[0].shape = [2, 4, 8, 8].into(), "takes latents of 8x8 (height x width), the UNet of 3x5"),
        (
            &|s| s.inputs.push(f32s("time_ids", &[2, 6])),
            "the ControlNet takes time_ids, as models of Stable Diffusion XL",
        ),
        (&|s| s.outputs.push(f32s("additional_residual_2", &[2, 1, 1, 1])), "made for another model"),
        (&|s| s.outputs[1].shape = [2, 7, 1, 1].into(), "gives additional_residual_1 of [2, 7, 1, 1]"),
        (&|s| s.inputs[3].shape = [2, 1, 6, 10].into(), "takes pictures of 1 channels"),
    ];
    for (change, fact) in cases {
        let error = said(change).to_string();
        assert!(error.contains(fact), "{fact}: {error}");
    }
    let mut alone = fake::models(fake::unet(2, DType::F32));
    alone.insert(Part::numbered(Role::ControlNet, 0), Box::new(control_net(2)));
    let error = DiffusionPipeline::new(alone, fake::config()).map(drop).unwrap_err().to_string();
    assert!(error.contains("control-unet: is missing"), "{error}");
}

#[test]
fn nets_live_beside_the_unet_for_as_long_as_their_stage() {
    let loaded = Arc::new(Mutex::new(Vec::new()));
    let log = loaded.clone();
    let load = move |part: Part| -> Result<Box<dyn Engine>, EngineError> {
        log.lock().unwrap().push(part);
        Ok(Box::new(match part.role {
            Role::TextEncoder => fake::text_encoder(),
            Role::ControlledUNet => controlled_unet(2),
            Role::ControlNet => control_net(2),
            _ => fake::vae_decoder(),
        }))
    };
    let roles = [Role::TextEncoder, Role::ControlledUNet, Role::VaeDecoder].map(Part::from);
    let parts: Vec<Part> = roles.into_iter().chain([Part::numbered(Role::ControlNet, 0)]).collect();
    let loader = Box::new(LoadWith::new(parts, load));
    let mut pipeline = DiffusionPipeline::with_loader(loader, Residency::PerStage, fake::config()).unwrap();
    loaded.lock().unwrap().clear();
    let options = GenerateOptions { controls: vec![grey(99)], ..options() };
    let drawn = pipeline.generate(&options, &Stop::never(), &mut go).unwrap().images.remove(0);
    let kept = draw(controlled(controlled_unet(2), vec![control_net(2)]), &options);
    assert_eq!(drawn.latents.to_f32_vec(), kept);
    // Each once: neither makes room for the other.
    let mut order = loaded.lock().unwrap().clone();
    order.sort();
    assert_eq!(order.len(), 4);
    order.dedup();
    assert_eq!(order.len(), 4);
}

#[test]
fn steps_without_guidance_are_guided_by_pictures_one_sample_at_a_time() {
    let interval = "0.25:0.75".parse().unwrap();
    for (guidance_interval, guidance_scale, calls) in [(None, 1.0, [0, 4, 0, 4]), (Some(interval), 3.0, [2, 2, 2, 2])] {
        for net_batch in [1, 2] {
            let (whole, single) = (controlled_unet(2), controlled_unet(1));
            let (net, single_net) = (control_net(net_batch), control_net(1));
            let counts = [&whole, &single, &net, &single_net].map(|fake| fake.calls.clone());
            let options = GenerateOptions {
                guidance_interval,
                guidance_scale,
                scheduler: Some(SchedulerKind::EulerDiscrete.into()),
                controls: vec![grey(51)],
                ..options()
            };
            let want = draw(controlled(controlled_unet(2), vec![control_net(2)]), &options);
            let mut models = controlled(whole, vec![net]);
            models.insert(Part::single(Role::ControlledUNet), Box::new(single));
            if net_batch == 2 {
                models.insert(Part::single_numbered(Role::ControlNet, 0), Box::new(single_net));
            }
            let mut pipeline = DiffusionPipeline::new(models, fake::config()).unwrap();
            let run = pipeline.generate(&options, &Stop::never(), &mut go).unwrap();
            assert_eq!((run.images[0].latents.to_f32_vec(), run.warnings), (want, vec![]));
            if net_batch == 2 {
                assert_eq!(counts.map(|calls| calls.lock().unwrap().len()), calls);
            }
        }
    }
    // Without a net for one, all take two, and that is said.
    let mut models = controlled(controlled_unet(2), vec![control_net(2)]);
    models.insert(Part::single(Role::ControlledUNet), Box::new(controlled_unet(1)));
    let mut pipeline = DiffusionPipeline::new(models, fake::config()).unwrap();
    let unguided = GenerateOptions { guidance_scale: 1.0, controls: vec![grey(51)], ..options() };
    let run = pipeline.generate(&unguided, &Stop::never(), &mut go).unwrap();
    assert!(matches!(&run.warnings[..], [Warning::TwoAtATime { .. }]), "{:?}", run.warnings);
}
