//! Facts about the pipeline, on models made of closed formulas.

mod clean;
mod control;
mod foretold;
mod handed_out;
mod masks;
mod prompts;
mod seeds;
mod skipped;
mod speed;
mod stages;
mod xl;

use std::ops::ControlFlow;

use host_tensor::{DType, HostTensor, Stop};

use super::fake::{self, Fake, LATENT, LENGTH, WIDTH};
use super::*;
use crate::RuntimeError;
use crate::engine::{Feature, Shape};
use crate::image::RgbImage;
use crate::prompt::{Emphasis, Window};
use crate::rng::{Lane, NumpyRandom, RandomKind};
use crate::scheduler::{Sampler, SchedulerKind};

fn pipeline(unet: Fake) -> DiffusionPipeline {
    DiffusionPipeline::new(fake::models(unet), fake::config()).unwrap()
}

fn go(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn options() -> GenerateOptions {
    GenerateOptions { seed: 93, steps: 4, guidance_scale: 3.0, ..GenerateOptions::new("a red heart") }
}

/// The first prompt token's hidden state 0, as the fake text encoder makes it.
fn text_of(prompt: &str) -> f32 {
    let ids = Window::of(&fake::config().tokenizers.remove(0), prompt, LENGTH).unwrap().ids;
    ids[1] as f32 / 1000.0
}

/// The loop written out for one image: what the pipeline must compute.
fn latents_by_hand(options: &GenerateOptions) -> Vec<f32> {
    let mut scheduler = fake::config().scheduler.build(options.scheduler.map(Sampler::kind), options.steps).unwrap();
    let n = LATENT.iter().product();
    let mut source = NumpyRandom::new(options.seed as u32);
    let mut latents = source.normals_f16(n);
    scheduler.start(None, &mut latents);
    let (cond, uncond) = (text_of(&options.prompt), text_of(options.negative_prompt.as_deref().unwrap_or_default()));
    for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
        let mut input = latents.clone();
        scheduler.scale_model_input(i, &mut input);
        let guided = |x: f32| {
            let (u, c) = (fake::noise(x, t, uncond), fake::noise(x, t, cond));
            if options.is_guided() { u + options.guidance_scale * (c - u) } else { c }
        };
        let noise: Vec<f32> = input.into_iter().map(guided).collect();
        scheduler.step(i, &noise, &mut latents, &mut source).unwrap();
    }
    latents
}

#[test]
fn guidance_mixes_negative_and_prompt_on_either_batch_size() {
    for kind in fake::config().scheduler.kinds() {
        let options =
            GenerateOptions { scheduler: Some(kind.into()), negative_prompt: Some("blue".into()), ..options() };
        let want = latents_by_hand(&options);
        for batch in [1, 2] {
            let run = pipeline(fake::unet(batch, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
            assert_eq!(run.images[0].latents.to_f32_vec(), want, "{kind}, batch {batch}");
            assert_eq!(run.warnings, []);
        }
    }
}

#[test]
fn the_negative_prompt_is_the_first_row_and_hidden_states_are_transposed() {
    let unet = fake::unet(2, DType::F32);
    let calls = unet.calls.clone();
    pipeline(unet).generate(&options(), &Stop::never(), &mut go).unwrap();
    let hidden = calls.lock().unwrap()[0]["encoder_hidden_states"].to_f32_vec();
    let tokenizer = fake::config().tokenizers.remove(0);
    for (row, prompt) in ["", "a red heart"].into_iter().enumerate() {
        let ids = Window::of(&tokenizer, prompt, LENGTH).unwrap().ids;
        for (d, s) in [(0, 0), (0, 1), (3, 2), (5, 76)] {
            let want = ids[s] as f32 / 1000.0 + d as f32;
            assert_eq!(hidden[(row * WIDTH + d) * LENGTH + s], want, "row {row} channel {d} token {s}");
        }
    }
}

#[test]
fn without_guidance_the_negative_prompt_is_never_encoded() {
    for guidance_scale in [1.0, 0.5] {
        let options = GenerateOptions { guidance_scale, ..options() };
        let want = latents_by_hand(&options);
        for batch in [1, 2] {
            let text_encoder = fake::text_encoder();
            let calls = text_encoder.calls.clone();
            let models = fake::with(Role::TextEncoder, text_encoder, fake::unet(batch, DType::F32));
            let run = DiffusionPipeline::new(models, fake::config())
                .unwrap()
                .generate(&options, &Stop::never(), &mut go)
                .unwrap();
            assert_eq!(run.images[0].latents.to_f32_vec(), want, "batch {batch}");
            assert_eq!(calls.lock().unwrap().len(), 1);
        }
    }
}

#[test]
fn inputs_have_the_declared_element_type() {
    // The fakes assert it; half precision must come near the same result.
    let want = latents_by_hand(&options());
    let run = pipeline(fake::unet(2, DType::F16)).generate(&options(), &Stop::never(), &mut go).unwrap();
    testkit::assert_all_close("latents", &want, &run.images[0].latents.to_f32_vec(), 0.01, 0.05);
}

#[test]
fn several_pictures_come_from_one_stream() {
    let two = GenerateOptions { image_count: 2, ..options() };
    for batch in [1, 2] {
        let run = pipeline(fake::unet(batch, DType::F32)).generate(&two, &Stop::never(), &mut go).unwrap();
        let mut source: Box<dyn RandomSource> = Box::new(NumpyRandom::new(93));
        let mut again = pipeline(fake::unet(batch, DType::F32));
        for image in &run.images {
            let single = again.generate_from(&mut source, &options(), &Stop::never(), &mut go).unwrap();
            assert_eq!(single.images[0].latents.to_f32_vec(), image.latents.to_f32_vec(), "batch {batch}");
        }
        assert_ne!(run.images[0].image, run.images[1].image);
    }
}

#[test]
fn other_random_sources_start_in_full_precision() {
    let options = GenerateOptions { random: RandomKind::Torch, steps: 1, ..options() };
    let unet = fake::unet(2, DType::F32);
    let calls = unet.calls.clone();
    pipeline(unet).generate(&options, &Stop::never(), &mut go).unwrap();
    let sample = calls.lock().unwrap()[0]["sample"].to_f32_vec();
    let n = LATENT.iter().product();
    assert_eq!(sample[..n], RandomKind::Torch.source(93).unwrap().normals_f32(n));
    assert_eq!(sample[..n], sample[n..]);
}

#[test]
fn latents_are_unscaled_and_shifted_before_decoding() {
    let vae_decoder = fake::vae_decoder();
    let calls = vae_decoder.calls.clone();
    let models = fake::with(Role::VaeDecoder, vae_decoder, fake::unet(2, DType::F32));
    let run =
        DiffusionPipeline::new(models, fake::config()).unwrap().generate(&options(), &Stop::never(), &mut go).unwrap();
    let image = &run.images[0];
    let want: Vec<f32> = image.latents.to_f32_vec().iter().map(|x| x / 16.0 + 0.25).collect();
    assert_eq!(calls.lock().unwrap()[0]["z"].to_f32_vec(), want);
    assert_eq!((image.image.width(), image.image.height()), (10, 6));
    assert_eq!(image.decoded.shape(), [1, 3, 6, 10]);
    let red = (want[0] / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0;
    assert_eq!(image.image.pixels()[0], red.round_ties_even() as u8);
}

#[test]
fn progress_counts_evaluations_and_can_stop() {
    let mut seen = Vec::new();
    let run = pipeline(fake::unet(2, DType::F32)).generate(&options(), &Stop::never(), &mut |at| {
        seen.push((at.image_idx, at.step, at.n_steps, at.latents.len()));
        if at.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(run, Err(RuntimeError::Stopped { step: 3, count: 5 })));
    assert_eq!(seen, [(0, 1, 5, 60), (0, 2, 5, 60), (0, 3, 5, 60)]);
}

#[test]
fn long_prompts_are_reported() {
    let options = GenerateOptions { prompt: "a red heart ".repeat(40), emphasis: Emphasis::Plain, ..options() };
    let run = pipeline(fake::unet(2, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
    let [Warning::PromptTruncated { part: PromptPart::Prompt, cut }] = &run.warnings[..] else {
        panic!("{:?}", run.warnings);
    };
    assert_eq!(cut.n_tokens, 120 - 75);
    assert!(run.warnings[0].to_string().starts_with("the prompt is too long; its last 45 tokens were ignored"));
}

#[test]
fn flagged_pictures_are_black_but_their_latents_remain() {
    let with_limit = |limit| fake::with(Role::SafetyChecker, fake::safety_checker(limit), fake::unet(2, DType::F32));
    let generate = |limit, disable_safety| {
        let options = GenerateOptions { disable_safety, ..options() };
        let mut pipeline = DiffusionPipeline::new(with_limit(limit), fake::config()).unwrap();
        pipeline.generate(&options, &Stop::never(), &mut go).unwrap().images.remove(0)
    };
    let (free, flagged, unchecked) = (generate(1e3, false), generate(-1e3, false), generate(-1e3, true));
    assert!(flagged.image.pixels().iter().all(|&byte| byte == 0));
    assert!(flagged.safety.as_ref().is_some_and(|verdict| verdict.flagged && verdict.concept_scores.len() == 2));
    assert_eq!(free.safety.as_ref().map(|verdict| verdict.flagged), Some(false));
    assert_eq!(unchecked.safety, None);
    assert_eq!(free.image, unchecked.image);
    assert_ne!(free.image, flagged.image);
    assert_eq!(free.latents.to_f32_vec(), flagged.latents.to_f32_vec());
}

#[test]
fn values_that_are_not_finite_are_reported() {
    let mut config = fake::config();
    config.vae.scaling_factor = 1e-45;
    let mut pipeline = DiffusionPipeline::new(fake::models(fake::unet(2, DType::F32)), config).unwrap();
    let run = pipeline.generate(&options(), &Stop::never(), &mut go).unwrap();
    assert_eq!(run.warnings, [Warning::NotFinite { image_idx: 0 }]);
}

#[test]
fn wrong_options_fail_before_any_model_runs() {
    let unet = fake::unet(2, DType::F32);
    let calls = unet.calls.clone();
    let mut pipeline = pipeline(unet);
    for (options, fact) in [
        (GenerateOptions { steps: 0, ..options() }, "0 steps"),
        (GenerateOptions { steps: 5000, ..options() }, "5000 steps"),
        (GenerateOptions { image_count: 0, ..options() }, "0 images"),
        (GenerateOptions { guidance_scale: f32::NAN, ..options() }, "guidance scale"),
    ] {
        let error = pipeline.generate(&options, &Stop::never(), &mut go).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
    }
    assert_eq!(calls.lock().unwrap().len(), 0);
}

#[test]
fn models_that_do_not_fit_are_named() {
    let f32s = |name: &str, shape: &[usize]| Feature::new(name, DType::F32, shape);
    let changed = |change: &dyn Fn(&mut Vec<Feature>)| {
        let mut unet = fake::unet(2, DType::F32);
        change(&mut unet.signature.inputs);
        fake::models(unet)
    };
    let mut without = fake::models(fake::unet(2, DType::F32));
    without.remove(&Role::TextEncoder.into());
    let cases = [
        (without, "text_encoder: is missing"),
        (
            changed(&|inputs| inputs.push(f32s("time_ids", &[2, 6]))),
            "needs input time_ids [2, 6]: it is Stable Diffusion XL's",
        ),
        (changed(&|inputs| inputs.push(f32s("additional_residual_0", &[2, 3]))), "guided by ControlNets"),
        (
            changed(&|inputs| inputs[0].shape = [2, 5, 3, 5].into()),
            "unet: is a model that is guided by depth (5 channels",
        ),
        (
            changed(&|inputs| inputs[0].shape = [2, 6, 3, 5].into()),
            "unet: takes 6 channels, where the VAE's latents have 4",
        ),
        (
            changed(&|inputs| inputs[0].shape = [2, 3, 3, 5].into()),
            "vae_decoder: takes latents of 4 channels, but the UNet of 3",
        ),
        (changed(&|inputs| drop(inputs.remove(0))), "the chunks before it are missing"),
        (changed(&|inputs| drop(inputs.remove(1))), "has no input timestep"),
        (
            changed(&|inputs| inputs[0].shape = [2, 4, 8, 8].into()),
            "vae_decoder: takes latents of 3x5 (height x width), but the UNet of 8x8 (height x width)",
        ),
        (changed(&|inputs| inputs[0].shape = [2, 4, 0, 8].into()), "empty or too large"),
        (changed(&|inputs| inputs[0].shape = [2, 4, 1 << 60, 8].into()), "empty or too large"),
        (changed(&|inputs| inputs[0].shape = [3, 4, 3, 5].into()), "do not agree"),
        (changed(&|inputs| inputs[2].shape = [2, 7, 1, LENGTH].into()), "hidden states are 6 wide"),
        (changed(&|inputs| inputs[2].shape = [2, WIDTH, 1, 154].into()), "encodes 77 tokens"),
    ];
    let mut chunk = fake::unet(2, DType::F32);
    chunk.signature.outputs = vec![f32s("add", &[1])];
    let cases = cases.into_iter().chain([(fake::models(chunk), "the chunks after it are missing")]);
    for (models, fact) in cases {
        let error = DiffusionPipeline::new(models, fake::config()).map(drop).unwrap_err();
        assert!(error.to_string().contains(fact), "{fact}: {error}");
    }
}

#[test]
fn an_encoder_for_another_size_or_of_another_model_is_named() {
    let [c, h, w] = LATENT;
    let with = |latent: [usize; 4]| {
        let mut encoder = fake::vae_encoder();
        encoder.signature.outputs = vec![Feature::new("latent", DType::F32, latent)];
        let models = fake::with(Role::VaeEncoder, encoder, fake::unet(2, DType::F32));
        DiffusionPipeline::new(models, fake::config()).map(drop)
    };
    with([1, 2 * c, h, w]).unwrap();
    let size = with([1, 2 * c, h + 1, w]).unwrap_err().to_string();
    assert!(size.contains("is for pictures 10 wide, 6 high, whose latents are 4x5 (height x width)"), "{size}");
    let channels = with([1, 32, h, w]).unwrap_err().to_string();
    assert!(channels.contains("gives latents of 16 channels, but the UNet of 4"), "{channels}");
}

#[test]
fn a_shorter_window_of_the_unet_shortens_the_prompt() {
    let mut unet = fake::unet(1, DType::F32);
    unet.signature.inputs[2].shape = [1, WIDTH, 1, 8].into();
    let calls = unet.calls.clone();
    let options = GenerateOptions { guidance_scale: 1.0, ..GenerateOptions::new("a red heart ".repeat(3)) };
    let run = pipeline(unet).generate(&options, &Stop::never(), &mut go).unwrap();
    assert!(
        matches!(run.warnings[..], [Warning::OneWindow { .. }, Warning::PromptTruncated { .. }]),
        "{:?}",
        run.warnings
    );
    let hidden = calls.lock().unwrap()[0]["encoder_hidden_states"].to_f32_vec();
    assert_eq!(hidden.len(), WIDTH * 8);
    assert_eq!(hidden[7], 4.095, "the end token stays the last");
}

#[test]
fn an_engines_own_error_is_kept() {
    let mut unet = fake::unet(2, DType::F32);
    unet = Fake::new(unet.signature.inputs.clone(), unet.signature.outputs.clone(), |_| Err("out of luck".into()));
    let error = pipeline(unet).generate(&options(), &Stop::never(), &mut go).unwrap_err();
    assert_eq!(error.to_string(), "unet: out of luck");
    let missing = fake::unet(2, DType::F32);
    let missing =
        Fake::new(missing.signature.inputs.clone(), missing.signature.outputs.clone(), |_| Ok(Default::default()));
    let error = pipeline(missing).generate(&options(), &Stop::never(), &mut go).unwrap_err();
    assert!(error.to_string().contains("gave no output noise_pred"), "{error}");
}

#[test]
fn a_checkpoints_own_files_configure_the_pipeline() {
    let config = PipelineConfig::from_dir(&testkit::demo()).unwrap();
    assert_eq!(config.scheduler.kind().unwrap(), SchedulerKind::Pndm);
    assert_eq!(config.vae, VaeConfig::default());
    assert_eq!(config.preprocessor, PreprocessorConfig::default());
    assert_eq!(config.tokenizer().max_length(), 77);
}

/// A picture of the pipeline's size, each pixel its own.
fn sketch() -> RgbImage {
    let [_, h, w] = LATENT;
    RgbImage::new(2 * w, 2 * h, (0..12 * h * w).map(|i| (i * 37 % 256) as u8).collect()).unwrap()
}

fn from_sketch(strength: f64) -> GenerateOptions {
    GenerateOptions { start: Some(StartingImage::new(sketch(), strength)), steps: 10, ..options() }
}

fn pipeline_with_encoder() -> DiffusionPipeline {
    let models = fake::with(Role::VaeEncoder, fake::vae_encoder(), fake::unet(2, DType::F32));
    DiffusionPipeline::new(models, fake::config()).unwrap()
}

#[test]
fn a_picture_is_encoded_noised_and_denoised_for_a_share_of_the_steps() {
    let [c, h, w] = LATENT;
    let n = c * h * w;
    for kind in fake::config().scheduler.kinds() {
        let options = GenerateOptions { scheduler: Some(kind.into()), image_count: 2, ..from_sketch(0.35) };
        let run = pipeline_with_encoder().generate(&options, &Stop::never(), &mut go).unwrap();
        // The order of the stream: the noise of both pictures, then the encoder's.
        let mut source = NumpyRandom::new(options.seed as u32);
        let noises = [source.normals_f16(n), source.normals_f16(n)];
        let drawn = source.normals_f16(n);
        let planes: Vec<f32> =
            sketch().to_planes().iter().map(|x| host_tensor::f16_from_f64(f64::from(*x)).to_f32()).collect();
        let clean: Vec<f32> = (0..n)
            .map(|i| {
                let mean = planes[((i / (h * w) % 3) * 2 * h + i / w % h * 2) * 2 * w + i % w * 2];
                (mean + (-0.5 * mean).exp() * drawn[i] - 0.25) * 16.0
            })
            .collect();
        for (idx, (image, noise)) in run.images.iter().zip(noises).enumerate() {
            // What is drawn on the way is drawn for both pictures at once.
            let mut lane = Lane::new(&source, idx, 2);
            let mut scheduler = fake::config().scheduler.build_from(Some(kind), 10, 7).unwrap();
            let mut latents = noise;
            scheduler.start(Some(&clean), &mut latents);
            for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
                let mut input = latents.clone();
                scheduler.scale_model_input(i, &mut input);
                let (u, c) = (text_of(""), text_of("a red heart"));
                let noise: Vec<f32> = input
                    .iter()
                    .map(|&x| fake::noise(x, t, u) + 3.0 * (fake::noise(x, t, c) - fake::noise(x, t, u)))
                    .collect();
                scheduler.step(i, &noise, &mut latents, &mut lane).unwrap();
            }
            testkit::assert_all_close(kind.name(), &latents, &image.latents.to_f32_vec(), 1e-6, 1e-6);
        }
    }
}

#[test]
fn a_picture_to_begin_with_needs_an_encoder_and_a_strength() {
    let error = pipeline(fake::unet(2, DType::F32))
        .generate(&from_sketch(0.5), &Stop::never(), &mut go)
        .unwrap_err()
        .to_string();
    assert!(error.contains("vae_encoder"), "{error}");
    for (strength, fact) in [(0.0, "above 0"), (1.01, "at most 1"), (f64::NAN, "strength NaN"), (0.09, "0.100")] {
        let error =
            pipeline_with_encoder().generate(&from_sketch(strength), &Stop::never(), &mut go).unwrap_err().to_string();
        assert!(error.contains(fact), "{error}");
    }
    let steps = |strength| {
        let mut last = 0;
        let options = GenerateOptions { scheduler: Some(SchedulerKind::Ddim.into()), ..from_sketch(strength) };
        let mut see = |at: Progress<'_>| {
            last = at.step;
            go(at)
        };
        pipeline_with_encoder().generate(&options, &Stop::never(), &mut see).unwrap();
        last
    };
    assert_eq!([1.0, 0.6, 0.35, 0.1].map(steps), [10, 6, 3, 1]);
}
