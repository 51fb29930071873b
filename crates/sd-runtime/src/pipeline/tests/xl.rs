//! Facts about what Stable Diffusion XL and its refiner are told, and about two models that take turns.

use sd_spec::Family;

use super::*;
use crate::engine::{Engine, Tensors};
use crate::part::Part;

/// Widths of both encoders' states, and of the second one's embedding of the whole text.
const WIDTHS: [usize; 2] = [2, 3];
const POOLED: usize = 4;

/// A text encoder whose states are its ids plus a number of its own, and whose embedding is the first word's id.
fn encoder(role: Role, width: usize, own: f32) -> (Part, Box<dyn Engine>) {
    let inputs = vec![Feature::new("input_ids", DType::F32, [1, LENGTH])];
    let outputs = vec![
        Feature::new("hidden_embeds", DType::F32, [1, LENGTH, width]),
        Feature::new("pooled_outputs", DType::F32, [1, POOLED]),
    ];
    let fake = Fake::new(inputs, outputs, move |inputs| {
        let ids = inputs["input_ids"].to_f32_vec();
        let states = ids.iter().flat_map(|id| vec![id + own; width]).collect();
        Ok(Tensors::from([
            ("hidden_embeds".to_owned(), HostTensor::from_f32([1, LENGTH, width], states)),
            ("pooled_outputs".to_owned(), HostTensor::from_f32([1, POOLED], vec![ids[1]; POOLED])),
        ]))
    });
    (role.into(), Box::new(fake))
}

/// A denoiser that is told so many numbers beside the text.
fn denoiser(width: usize, n_numbers: usize) -> Fake {
    let [c, h, w] = LATENT;
    let inputs = vec![
        Feature::new("sample", DType::F32, [2, c, h, w]),
        Feature::new("timestep", DType::F32, [2]),
        Feature::new("encoder_hidden_states", DType::F32, [2, width, 1, LENGTH]),
        Feature::new("time_ids", DType::F32, [2, n_numbers]),
        Feature::new("text_embeds", DType::F32, [2, POOLED]),
    ];
    let outputs = vec![Feature::new("noise_pred", DType::F32, [2, c, h, w])];
    Fake::new(inputs, outputs, move |inputs| {
        let noise = inputs["sample"].to_f32_vec().into_iter().map(|x| x / 2.0).collect();
        Ok(Tensors::from([("noise_pred".to_owned(), HostTensor::from_f32([2, c, h, w], noise))]))
    })
}

/// A pipeline of XL or of its refiner, and what its denoiser is given.
fn of_family(family: Family) -> (DiffusionPipeline, fake::Calls) {
    let (role, unet) = match family {
        Family::SdxlRefiner => (Role::Refiner, denoiser(WIDTHS[1], 5)),
        _ => (Role::UNet, denoiser(WIDTHS[0] + WIDTHS[1], 6)),
    };
    let calls = unet.calls.clone();
    let mut models = Models::from([
        encoder(Role::TextEncoder2, WIDTHS[1], 0.5),
        (role.into(), Box::new(unet) as Box<dyn Engine>),
        (Role::VaeDecoder.into(), Box::new(fake::vae_decoder())),
    ]);
    let mut config = fake::config();
    config.family = family;
    config.zeros_without_negative = family == Family::Sdxl;
    if family == Family::Sdxl {
        models.extend([encoder(Role::TextEncoder, WIDTHS[0], 0.25)]);
        config.tokenizers.extend(fake::config().tokenizers);
    }
    (DiffusionPipeline::new(models, config).unwrap(), calls)
}

/// One input of the denoiser's first call: the negative prompt's row, and the prompt's.
fn rows(family: Family, options: &GenerateOptions, name: &str) -> [Vec<f32>; 2] {
    let (mut pipeline, calls) = of_family(family);
    pipeline.generate(options, &Stop::never(), &mut go).unwrap();
    let mut negative = calls.lock().unwrap()[0][name].to_f32_vec();
    let prompt = negative.split_off(negative.len() / 2);
    [negative, prompt]
}

fn first_id(text: &str) -> f32 {
    text_of(text) * 1000.0
}

#[test]
fn each_text_encoder_reads_its_own_prompt_and_states_stand_side_by_side() {
    let options = GenerateOptions {
        prompt_2: Some("blue".into()),
        negative_prompt: Some("cat".into()),
        negative_prompt_2: Some("dog".into()),
        ..options()
    };
    let states = rows(Family::Sdxl, &options, "encoder_hidden_states");
    for (row, texts) in states.iter().zip([["cat", "dog"], ["a red heart", "blue"]]) {
        let [first, second] = texts.map(first_id);
        // Channels first: the first token's value of every channel stands a window apart.
        let of_first_word: Vec<f32> = row.iter().skip(1).step_by(LENGTH).copied().collect();
        let want = [first + 0.25, first + 0.25, second + 0.5, second + 0.5, second + 0.5];
        assert!(of_first_word.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-2), "{of_first_word:?} {want:?}");
    }
    let pooled = rows(Family::Sdxl, &options, "text_embeds");
    assert!((pooled[0][0] - first_id("dog")).abs() < 1e-2 && (pooled[1][0] - first_id("blue")).abs() < 1e-2);
}

#[test]
fn zeros_stand_for_a_negative_prompt_that_is_missing_and_not_for_an_empty_one() {
    let missing = options();
    let empty = GenerateOptions { negative_prompt: Some(String::new()), ..options() };
    for name in ["encoder_hidden_states", "text_embeds"] {
        assert!(rows(Family::Sdxl, &missing, name)[0].iter().all(|x| *x == 0.0), "{name}");
        assert!(rows(Family::Sdxl, &empty, name)[0].iter().any(|x| *x != 0.0), "{name}");
        let refiners = rows(Family::SdxlRefiner, &missing, name);
        assert_eq!(refiners, rows(Family::SdxlRefiner, &empty, name));
    }
}

#[test]
fn numbers_have_heights_and_tops_first() {
    let own = [24.0, 40.0, 0.0, 0.0, 24.0, 40.0];
    assert_eq!(rows(Family::Sdxl, &options(), "time_ids"), [own, own]);
    let conditions = Conditions {
        original_size: Some("30x20".parse().unwrap()),
        crop: Some("3,2".parse().unwrap()),
        target_size: Some("15x10".parse().unwrap()),
        aesthetic_score: None,
    };
    let told = GenerateOptions { conditions, ..options() };
    let row = [20.0, 30.0, 2.0, 3.0, 10.0, 15.0];
    assert_eq!(rows(Family::Sdxl, &told, "time_ids"), [row, row]);
    let negative_conditions = Conditions { target_size: Some("9x8".parse().unwrap()), ..Conditions::default() };
    let other = GenerateOptions { negative_conditions, ..told.clone() };
    assert_eq!(rows(Family::Sdxl, &other, "time_ids"), [[20.0, 30.0, 0.0, 0.0, 8.0, 9.0], row]);
    let scored = GenerateOptions { conditions: Conditions { target_size: None, ..conditions }, ..options() };
    let refiners = [[20.0, 30.0, 0.0, 0.0, 2.5], [20.0, 30.0, 2.0, 3.0, 6.0]];
    assert_eq!(rows(Family::SdxlRefiner, &scored, "time_ids"), refiners);
}

#[test]
fn what_a_family_is_not_told_is_refused_by_name() {
    let score = Conditions { aesthetic_score: Some(7.0), ..Conditions::default() };
    let target = Conditions { target_size: Some("8x8".parse().unwrap()), ..Conditions::default() };
    let said = |pipeline: &DiffusionPipeline, options: GenerateOptions| pipeline.evaluations(&options).unwrap_err();
    let (xl, refiner) = (of_family(Family::Sdxl).0, of_family(Family::SdxlRefiner).0);
    let first = pipeline(fake::unet(2, DType::F32));
    for (pipeline, options, fact) in [
        (&xl, GenerateOptions { negative_conditions: score, ..options() }, "XL, which takes no aesthetic score"),
        (&refiner, GenerateOptions { conditions: target, ..options() }, "takes no target size"),
        (&refiner, GenerateOptions { prompt_2: Some("x".into()), ..options() }, "for a second text encoder"),
        (&first, GenerateOptions { conditions: target, ..options() }, "1.x or 2.x, which takes no target size"),
        (&first, GenerateOptions { negative_prompt_2: Some("x".into()), ..options() }, "second text encoder"),
    ] {
        let error = said(pipeline, options).to_string();
        assert!(error.contains(fact), "{error}");
    }
}

#[test]
fn two_turns_of_one_model_are_the_whole_walk() {
    for kind in [SchedulerKind::EulerDiscrete, SchedulerKind::Ddim, SchedulerKind::HeunDiscrete] {
        for at in [0.3, 0.5, 0.82] {
            let whole = GenerateOptions { steps: 7, scheduler: Some(kind.into()), image_count: 2, ..options() };
            let mut drawing = pipeline(fake::unet(2, DType::F32));
            let drawn = drawing.generate(&whole, &Stop::never(), &mut go).unwrap();
            let mut streams = Streams::of(&whole).unwrap();
            let first = GenerateOptions { denoising_end: Some(at), ..whole.clone() };
            let begun = drawing.denoise_with(&mut streams, &first, &Stop::never(), &mut go).unwrap();
            let latents = begun.pictures.iter().map(|picture| picture.latents.clone()).collect();
            let last = GenerateOptions { denoising_start: Some(at), latents, ..whole.clone() };
            let (calls, rest) = (drawing.evaluations(&first).unwrap(), drawing.evaluations(&last).unwrap());
            assert_eq!(calls + rest, drawing.evaluations(&whole).unwrap(), "{kind} at {at}");
            let turned = drawing.generate_with(&mut streams, &last, &Stop::never(), &mut go).unwrap();
            for (a, b) in turned.images.iter().zip(&drawn.images) {
                assert_eq!(a.latents, b.latents, "{kind} at {at}");
            }
        }
    }
}

#[test]
fn turns_that_cannot_be_are_refused() {
    let mut drawing = pipeline(fake::unet(2, DType::F32));
    let [c, h, w] = LATENT;
    let latents = |c: usize| vec![HostTensor::from_f32([1, c, h, w], vec![0.0; c * h * w])];
    let begun = GenerateOptions { denoising_start: Some(0.5), latents: latents(c), ..options() };
    drawing.generate(&begun, &Stop::never(), &mut go).unwrap();
    for (options, fact) in [
        (GenerateOptions { denoising_end: Some(1.0), ..options() }, "ends at 1, which is not between"),
        (GenerateOptions { denoising_end: Some(0.001), ..options() }, "before the first of its 4 steps"),
        (GenerateOptions { denoising_start: Some(0.5), ..options() }, "goes on from latents, and none are given"),
        (GenerateOptions { latents: latents(c), ..options() }, "the place in the noise schedule"),
        (GenerateOptions { latents: latents(c + 1), ..begun.clone() }, "and the model draws [1, 4, 3, 5]"),
        (GenerateOptions { image_count: 2, ..begun.clone() }, "1 latents to go on from for 2 pictures"),
        (GenerateOptions { denoising_end: Some(0.4), ..begun.clone() }, "nothing lies between"),
        (GenerateOptions { denoising_start: Some(0.9999), ..begun.clone() }, "none of 4 steps is left"),
    ] {
        let error = drawing.generate(&options, &Stop::never(), &mut go).unwrap_err().to_string();
        assert!(error.contains(fact), "{error}");
    }
}
