//! Options that are read off a model's inputs make a model of the same inputs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sd_convert::verify::{Input, reference_options};
use sd_convert::{Batch, Checkpoint, ConvertError, Interface, LatentSize, Options, Role};

fn open(name: &str) -> Option<Checkpoint> {
    let golden = testkit::golden()?;
    Some(Checkpoint::open(golden.join("checkpoints").join(name)).unwrap())
}

fn shapes(ckpt: &Checkpoint, role: Role, options: &Options) -> Vec<Input> {
    let Interface { inputs, outputs, .. } = Interface::new(ckpt, role, options).unwrap();
    inputs.into_iter().chain(outputs).collect()
}

#[track_caller]
fn check(checkpoint: &str, role: Role, options: Options) {
    let Some(ckpt) = open(checkpoint) else { return };
    let made = shapes(&ckpt, role, &Options { precision: Some(sd_convert::Precision::Float32), ..options.clone() });
    let inputs = Interface::new(&ckpt, role, &options).unwrap().inputs;
    let found = reference_options(&ckpt, role, &inputs).unwrap();
    assert_eq!(shapes(&ckpt, role, &found), made, "{checkpoint} {role}");
}

#[test]
fn the_options_of_a_model_make_it_again() {
    let options = || Options::default();
    let size = LatentSize { height: 12, width: 20 };
    let sized = || Options { latent_size: Some(size), ..options() };
    check("tiny-sd15", Role::TextEncoder, options());
    check("tiny-sd15", Role::UNet, Options { unet_batch: Batch::One, ..sized() });
    check("tiny-sd15", Role::ControlledUNet, Options { text_length: Some(50), ..sized() });
    check("tiny-sd15", Role::SafetyChecker, sized());
    check("tiny-controlnet", Role::ControlNet, Options { text_length: Some(154), ..sized() });
    check("mini-sdxl", Role::VaeEncoder, sized());
    check("tiny-sdxl-refiner", Role::Refiner, sized());
    check("tiny-lcm", Role::UNet, sized());
    for text_length in [None, Some(256)] {
        let texts = || Options { text_length, ..sized() };
        check("tiny-sd3", Role::Mmdit, texts());
        check("tiny-sd35-medium", Role::Mmdit, Options { unet_batch: Batch::One, ..texts() });
        check("tiny-sd3", Role::TextEncoder3, texts());
        check("tiny-sd3", Role::TextEncoder3, Options { on_request: vec!["attention_mask"], ..texts() });
    }
}

#[test]
fn a_transformer_without_room_for_a_third_encoder_is_refused() {
    let Some(ckpt) = open("tiny-sd3") else { return };
    let mut inputs = Interface::new(&ckpt, Role::Mmdit, &Options::default()).unwrap().inputs;
    inputs.iter_mut().filter(|input| input.name == "token_level_text_embeddings").for_each(|input| input.shape[3] = 77);
    let error: ConvertError = reference_options(&ckpt, Role::Mmdit, &inputs).unwrap_err();
    assert!(error.to_string().contains("takes 77 tokens of text, of which 77 are CLIP's"), "{error}");
}
