//! Facts about prompts: what changes on the way, and texts of several windows.

use super::*;
use crate::engine::Engine;
use crate::part::Part;
use crate::pipeline::fake::Calls;

/// The first token of the prompt at each call of a denoiser, times 1000.
fn first_ids(calls: &Calls) -> Vec<u32> {
    let first = |inputs: &crate::Tensors| {
        let hidden = inputs["encoder_hidden_states"].to_f32_vec();
        (hidden[1] * 1000.0).round() as u32
    };
    calls.lock().unwrap().iter().map(first).collect()
}

fn id(word: &str) -> u32 {
    fake::config().tokenizer().ids(word).unwrap()[0]
}

fn unguided(prompt: &str) -> GenerateOptions {
    GenerateOptions {
        guidance_scale: 1.0,
        scheduler: Some(SchedulerKind::EulerDiscrete.into()),
        ..GenerateOptions { prompt: prompt.into(), ..options() }
    }
}

#[test]
fn a_prompt_changes_on_the_way() {
    let unet = fake::unet(1, DType::F32);
    let calls = unet.calls.clone();
    let mut pipeline = pipeline(unet);
    pipeline.generate(&unguided("[red:blue:2] heart"), &Stop::never(), &mut go).unwrap();
    // The evaluation of the number itself has the first text still, as in AUTOMATIC1111's web UI.
    assert_eq!(first_ids(&calls), [id("red"), id("red"), id("red"), id("blue")]);
    calls.lock().unwrap().clear();
    pipeline.generate(&unguided("[red|blue]"), &Stop::never(), &mut go).unwrap();
    assert_eq!(first_ids(&calls), [id("red"), id("red"), id("blue"), id("red")]);
    calls.lock().unwrap().clear();
    let plain = GenerateOptions { emphasis: Emphasis::Plain, ..unguided("[red:blue:2]") };
    pipeline.generate(&plain, &Stop::never(), &mut go).unwrap();
    assert_eq!(first_ids(&calls), [id("["); 4]);
}

/// A pipeline whose denoiser is there for one window and for two, and the calls of both.
fn lengthened() -> (DiffusionPipeline, [Calls; 2]) {
    let (whole, mut longer) = (fake::unet(2, DType::F32), fake::unet(2, DType::F32));
    longer.signature.inputs[2].shape = [2, WIDTH, 1, 2 * LENGTH].into();
    let calls = [&whole, &longer].map(|fake| fake.calls.clone());
    let mut models = fake::models(whole);
    models.insert(Part::from(Role::UNet).for_windows(2), Box::new(longer) as Box<dyn Engine>);
    (DiffusionPipeline::new(models, fake::config()).unwrap(), calls)
}

#[test]
fn a_prompt_of_two_windows_is_given_to_a_denoiser_for_two() {
    let (mut pipeline, [whole, longer]) = lengthened();
    let options = GenerateOptions { prompt: "red BREAK blue".into(), ..options() };
    let run = pipeline.generate(&options, &Stop::never(), &mut go).unwrap();
    assert_eq!(run.warnings, []);
    assert_eq!((whole.lock().unwrap().len(), longer.lock().unwrap().len()), (0, 5));
    let hidden = longer.lock().unwrap()[0]["encoder_hidden_states"].to_f32_vec();
    // Channels first: the negative prompt's row, then the prompt's, whose second window begins at 77.
    let token = |row: usize, place: usize| (hidden[row * WIDTH * 2 * LENGTH + place] * 1000.0).round() as u32;
    assert_eq!([token(1, 1), token(1, LENGTH + 1)], [id("red"), id("blue")]);
    // The shorter one has empty windows behind it.
    assert_eq!([token(0, 0), token(0, LENGTH)], [token(1, 0); 2]);
    assert_eq!(token(0, LENGTH + 1), token(0, 2));
    pipeline.generate(&GenerateOptions { prompt: "red".into(), ..options }, &Stop::never(), &mut go).unwrap();
    assert_eq!((whole.lock().unwrap().len(), longer.lock().unwrap().len()), (5, 5));
}

#[test]
fn and_between_texts_is_said_to_be_a_word() {
    let unet = || fake::unet(2, DType::F32);
    let run = pipeline(unet()).generate(
        &GenerateOptions { prompt: "cat AND dog".into(), ..options() },
        &Stop::never(),
        &mut go,
    );
    assert_eq!(run.unwrap().warnings, [Warning::AndIsText]);
    let run = pipeline(unet()).generate(
        &GenerateOptions { prompt: "SAND and dog".into(), ..options() },
        &Stop::never(),
        &mut go,
    );
    assert_eq!(run.unwrap().warnings, []);
}
