//! Latents of whole pictures to begin with, and what one pipeline does for another that goes on from its pictures.

use super::*;

fn latents(offset: f32) -> HostTensor {
    let [c, h, w] = LATENT;
    HostTensor::from_f32([1, c, h, w], (0..c * h * w).map(|i| (i as f32 * 0.7 + offset).sin()).collect())
}

fn from_latents(strength: f64) -> GenerateOptions {
    let clean = StartingLatents { latents: vec![latents(0.0), latents(2.0)], strength };
    GenerateOptions { clean: Some(clean), image_count: 2, steps: 10, ..options() }
}

#[test]
fn noise_is_added_to_the_latents_of_each_picture() {
    for kind in fake::config().scheduler.kinds() {
        let options = GenerateOptions { scheduler: Some(kind.into()), ..from_latents(0.4) };
        let run = pipeline(fake::unet(2, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
        let n = LATENT.iter().product();
        let mut source = NumpyRandom::new(options.seed as u32);
        let noises = [source.normals_f16(n), source.normals_f16(n)];
        for (idx, (image, noise)) in run.images.iter().zip(noises).enumerate() {
            let mut lane = Lane::new(&source, idx, 2);
            let mut scheduler = fake::config().scheduler.build_from(Some(kind), 10, 6).unwrap();
            let mut sample = noise.clone();
            scheduler.start(Some(&options.clean.as_ref().unwrap().latents[idx].to_f32_vec()), &mut sample);
            for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
                let mut input = sample.clone();
                scheduler.scale_model_input(i, &mut input);
                let (u, c) = (text_of(""), text_of("a red heart"));
                let guided = |x: &f32| fake::noise(*x, t, u) + 3.0 * (fake::noise(*x, t, c) - fake::noise(*x, t, u));
                let output: Vec<f32> = input.iter().map(guided).collect();
                scheduler.step(i, &output, &mut sample, &mut lane).unwrap();
            }
            assert_eq!(image.noise.to_f32_vec(), noise);
            testkit::assert_all_close(kind.name(), &sample, &image.latents.to_f32_vec(), 1e-6, 1e-6);
        }
    }
}

#[test]
fn latents_of_whole_pictures_stand_alone_and_are_one_for_each() {
    let refused = |options: GenerateOptions| {
        pipeline_with_encoder().generate(&options, &Stop::never(), &mut go).unwrap_err().to_string()
    };
    let clean = from_latents(0.4);
    for (options, fact) in [
        (GenerateOptions { start: from_sketch(0.5).start, ..clean.clone() }, "not with both"),
        (GenerateOptions { image_count: 3, ..clean.clone() }, "2 latents to begin with for 3 pictures"),
        (from_latents(0.0), "above 0"),
        (
            GenerateOptions {
                clean: Some(StartingLatents {
                    latents: vec![HostTensor::from_f32([1, 4, 1, 1], vec![0.0; 4]); 2],
                    strength: 1.0,
                }),
                ..clean
            },
            "latents to begin with have the shape [1, 4, 1, 1]",
        ),
    ] {
        let error = refused(options);
        assert!(error.contains(fact), "{error}");
    }
}

#[test]
fn the_likeliest_latents_are_drawn_with_no_noise_and_texts_are_taken_over() {
    let mut first = pipeline_with_encoder();
    let [c, h, w] = LATENT;
    let got = first.encode(&sketch(), &Stop::never()).unwrap();
    let planes = sketch().to_planes();
    let mean = |i: usize| planes[((i / (h * w) % 3) * 2 * h + i / w % h * 2) * 2 * w + i % w * 2];
    let want: Vec<f32> = (0..c * h * w).map(|i| (mean(i) - 0.25) * 16.0).collect();
    testkit::assert_all_close("latents", &want, &got.to_f32_vec(), 1e-2, 1e-2);
    let error = pipeline(fake::unet(2, DType::F32)).encode(&sketch(), &Stop::never()).unwrap_err().to_string();
    assert!(error.contains("vae_encoder"), "{error}");
    first.generate(&options(), &Stop::never(), &mut go).unwrap();
    let text_encoder = fake::text_encoder();
    let calls = text_encoder.calls.clone();
    let models = fake::with(Role::TextEncoder, text_encoder, fake::unet(2, DType::F32));
    let mut second = DiffusionPipeline::new(models, fake::config()).unwrap();
    second.remember_texts_of(&first);
    second.generate(&options(), &Stop::never(), &mut go).unwrap();
    assert_eq!(calls.lock().unwrap().len(), 0);
}
