//! Facts about what is not computed: the same sample twice, guidance where it is off, steps that are foretold, prompts
//! that were read before.

use super::*;
use crate::engine::Engine;
use crate::forecasting::Forecasting;
use crate::interval::GuidanceInterval;
use crate::pipeline::fake::Calls;

/// A pipeline with a denoiser for two samples and one for one, and the calls of both and of the text encoder.
fn counted() -> (DiffusionPipeline, [Calls; 3]) {
    let (whole, single, text) = (fake::unet(2, DType::F32), fake::unet(1, DType::F32), fake::text_encoder());
    let calls = [&whole, &single, &text].map(|fake| fake.calls.clone());
    let mut models = fake::with(Role::TextEncoder, text, whole);
    models.insert(Part::single(Role::UNet), Box::new(single) as Box<dyn Engine>);
    (DiffusionPipeline::new(models, fake::config()).unwrap(), calls)
}

fn counts(calls: &[Calls; 3]) -> [usize; 3] {
    calls.each_ref().map(|calls| calls.lock().unwrap().len())
}

fn latents(run: &Generation) -> Vec<f32> {
    run.images[0].latents.to_f32_vec()
}

#[test]
fn steps_without_guidance_take_one_sample_at_a_time() {
    let options = GenerateOptions { guidance_scale: 1.0, scheduler: euler(), ..options() };
    let (mut pipeline, calls) = counted();
    let run = pipeline.generate(&options, &Stop::never(), &mut go).unwrap();
    assert_eq!(counts(&calls), [0, 4, 1]);
    assert_eq!(latents(&run), latents_by_hand(&options));
    assert_eq!(run.warnings, []);
    // Without such a denoiser the same comes of the one for two, and that is said.
    let run = super::pipeline(fake::unet(2, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
    assert_eq!(latents(&run), latents_by_hand(&options));
    assert!(matches!(&run.warnings[..], [Warning::TwoAtATime { .. }]), "{:?}", run.warnings);
    let run = super::pipeline(fake::unet(1, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
    assert_eq!(run.warnings, []);
}

fn euler() -> Option<Sampler> {
    Some(SchedulerKind::EulerDiscrete.into())
}

#[test]
fn guidance_is_on_in_its_interval_alone() {
    let interval: GuidanceInterval = "0.25:0.75".parse().unwrap();
    let options = GenerateOptions { steps: 8, scheduler: euler(), guidance_interval: Some(interval), ..options() };
    let (mut pipeline, calls) = counted();
    let run = pipeline.generate(&options, &Stop::never(), &mut go).unwrap();
    assert_eq!(counts(&calls), [4, 4, 2]);
    let mut scheduler = fake::config().scheduler.build(Some(SchedulerKind::EulerDiscrete), 8).unwrap();
    let mut source = NumpyRandom::new(93);
    let mut sample = source.normals_f16(LATENT.iter().product());
    scheduler.start(None, &mut sample);
    for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
        let mut input = sample.clone();
        scheduler.scale_model_input(i, &mut input);
        let (cond, uncond) = (text_of("a red heart"), text_of(""));
        let scale = if (2..6).contains(&i) { 3.0 } else { 1.0 };
        let output = |x: f32| {
            let (u, c) = (fake::noise(x, t, uncond), fake::noise(x, t, cond));
            if scale > 1.0 { u + scale * (c - u) } else { c }
        };
        let output: Vec<f32> = input.into_iter().map(output).collect();
        scheduler.step(i, &output, &mut sample, &mut source).unwrap();
    }
    assert_eq!(latents(&run), sample);
    let unguided = GenerateOptions { guidance_scale: 1.0, ..options };
    let error = pipeline.generate(&unguided, &Stop::never(), &mut go).unwrap_err().to_string();
    assert!(error.contains("no effect at guidance 1"), "{error}");
}

#[test]
fn foretold_steps_are_not_computed() {
    let full = GenerateOptions { steps: 20, scheduler: euler(), ..options() };
    for rule in Forecasting::ALL {
        let options = GenerateOptions { forecasting: Some(rule), ..full.clone() };
        let (mut pipeline, calls) = counted();
        let mut n_steps = 0;
        let mut count = |at: Progress<'_>| {
            n_steps += 1;
            assert_eq!((at.step, at.n_steps), (n_steps, 20));
            go(at)
        };
        let run = pipeline.generate(&options, &Stop::never(), &mut count).unwrap();
        assert_eq!((counts(&calls), n_steps), ([11, 0, 2], 20));
        let whole = latents_by_hand(&full);
        let apart: f32 = latents(&run).iter().zip(&whole).map(|(a, b)| (a - b).abs()).sum::<f32>();
        let size: f32 = whole.iter().map(|x| x.abs()).sum();
        assert!(apart > 0.0 && apart < 0.2 * size, "{rule}: {apart} of {size}");
    }
}

#[test]
fn a_prompt_that_was_read_is_not_read_again() {
    let (mut pipeline, calls) = counted();
    let first = pipeline.generate(&options(), &Stop::never(), &mut go).unwrap();
    assert_eq!(counts(&calls)[2], 2);
    let again = pipeline.generate(&options(), &Stop::never(), &mut go).unwrap();
    assert_eq!((counts(&calls)[2], latents(&again)), (2, latents(&first)));
    let other = GenerateOptions { prompt: "a green heart".into(), ..options() };
    pipeline.generate(&other, &Stop::never(), &mut go).unwrap();
    assert_eq!(counts(&calls)[2], 3, "the negative prompt is the same");
}
