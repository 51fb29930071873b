//! Which networks a folder has, and what is said of those that it has not.

use std::fs;

use super::*;

fn checkpoint_of(index: Option<&str>, folders: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in folders {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("config.json"), "{}").unwrap();
    }
    if let Some(index) = index {
        fs::write(dir.path().join("model_index.json"), index).unwrap();
    }
    dir
}

#[test]
fn the_index_says_which_components_there_are() {
    let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null]}"#;
    let dir = checkpoint_of(Some(index), &["unet", "safety_checker", "vae"]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.roles(), [Role::UNet]);
    let warnings = checkpoint.warnings().join("\n");
    assert!(warnings.contains("leaves out safety_checker") && warnings.contains("leaves out vae"), "{warnings}");
    let error = checkpoint.config(Role::SafetyChecker).unwrap_err().to_string();
    assert!(error.contains("has no safety-checker: ") && error.contains("model_index.json leaves it out"), "{error}");
}

#[test]
fn without_an_index_folders_count() {
    let dir = checkpoint_of(None, &["unet", "vae"]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.roles(), [Role::UNet, Role::VaeDecoder, Role::VaeEncoder]);
    assert!(checkpoint.has(Role::ControlledUNet) && !checkpoint.has(Role::Refiner));
    assert!(checkpoint.warnings().is_empty());
}

#[test]
fn listed_components_that_are_absent_or_of_another_class_are_named() {
    let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "ConsistencyDecoderVAE"],
        "text_encoder": ["diffusers", "OnnxRuntimeModel"], "image_encoder": ["x", "Y"], "tokenizer": ["a", "B"]}"#;
    let dir = checkpoint_of(Some(index), &["vae"]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let error = |c| checkpoint.config(c).unwrap_err().to_string();
    assert!(error(Role::UNet).contains("unet/config.json"), "{}", error(Role::UNet));
    assert!(error(Role::VaeDecoder).contains("vae is of the class ConsistencyDecoderVAE"));
    assert!(error(Role::TextEncoder).contains("ONNX"));
    assert_eq!(checkpoint.warnings(), ["model_index.json lists image_encoder, which cannot be converted yet"]);
    assert_eq!((checkpoint.family(), checkpoint.roles().len()), (Family::Sd, 2));
    let other = r#"{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"],
        "scheduler_2": ["diffusers", "X"], "vae": ["diffusers", "AutoencoderKL"]}"#;
    let dir = checkpoint_of(Some(other), &["vae"]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(checkpoint.check_family().is_err());
    let error = checkpoint.check_family().unwrap_err().to_string();
    assert!(error.contains("this is FLUX (FluxPipeline), which is not converted"), "{error}");
}

#[test]
fn the_class_of_the_transformer_says_the_family() {
    let dir = checkpoint_of(None, &["transformer", "text_encoder", "text_encoder_2", "vae"]);
    let class = |class: &str| {
        let json = format!(r#"{{"_class_name": "{class}"}}"#);
        fs::write(dir.path().join("transformer/config.json"), json).unwrap();
        Checkpoint::open(dir.path()).unwrap()
    };
    let sd3 = class("SD3Transformer2DModel");
    assert_eq!((sd3.family(), sd3.denoiser()), (Family::Sd3, Role::Mmdit));
    assert!(sd3.has(Role::Mmdit) && !sd3.has(Role::UNet));
    let other = class("FluxTransformer2DModel");
    assert!(other.family() != Family::Sd3 && !other.has(Role::Mmdit));
    let index = r#"{"transformer": ["diffusers", "SD3Transformer2DModel"]}"#;
    let listed = Checkpoint::open(checkpoint_of(Some(index), &["vae"]).path()).unwrap();
    assert_eq!(listed.family(), Family::Sd3);
    assert!(listed.config(Role::Mmdit).unwrap_err().to_string().contains("transformer/config.json"));
}

#[test]
fn a_byte_order_mark_before_the_index_is_no_fault_and_other_text_is() {
    let index = "\u{feff}{\"unet\": [\"diffusers\", \"UNet2DConditionModel\"]}";
    let dir = checkpoint_of(Some(index), &["unet"]);
    assert!(Checkpoint::open(dir.path()).unwrap().has(Role::UNet));
    fs::write(dir.path().join("model_index.json"), "[]").unwrap();
    assert!(Checkpoint::open(dir.path()).unwrap_err().to_string().contains("model_index.json"));
}
