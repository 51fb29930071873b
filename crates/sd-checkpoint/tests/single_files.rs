//! Single files of the golden data: tensors as diffusers has them, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use host_tensor::DType;
use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Averages, Checkpoint, CheckpointError, Prediction, Reading, read_json};
use sd_spec::{Family, Role};
use serde_json::Value;

fn tables(golden: &Path) -> Value {
    serde_json::from_slice(&read_json(&golden.join("single-file/expected/tables.json")).unwrap()).unwrap()
}

fn open(golden: &Path, name: &str, reading: &Reading) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open_with(golden.join("single-file").join(name), Wanted::Checkpoint, reading)
}

/// The configurations that go with the file of a model.
fn config(golden: &Path, name: &str) -> Reading {
    Reading { config: Some(golden.join("single-file/config").join(name).into()), ..Reading::default() }
}

/// Compares the weights of a role with a table of hashes.
#[track_caller]
fn check(checkpoint: &Checkpoint, role: Role, table: &Value) {
    let weights = checkpoint.weights(role).unwrap();
    let table = table.as_object().unwrap();
    let keys: Vec<&str> = weights.iter().map(|(key, _)| key).collect();
    let missing: Vec<&String> = table.keys().filter(|key| weights.get(key).is_none()).collect();
    assert_eq!(missing, Vec::<&String>::new(), "{role} of {}", checkpoint.name());
    let more: Vec<&str> = keys.into_iter().filter(|key| !table.contains_key(*key)).collect();
    assert_eq!(more, Vec::<&str>::new(), "{role} of {}", checkpoint.name());
    for (key, expected) in table {
        let tensor = weights.get(key).unwrap().constant().read();
        assert_eq!(tensor.dtype(), DType::F16, "{key}");
        let shape: Vec<u64> = tensor.shape().iter().map(|&n| n as u64).collect();
        assert_eq!(serde_json::json!(shape), expected["shape"], "{key}");
        let hash: String = testkit::sha256(tensor.bytes());
        assert_eq!(hash, expected["sha256"].as_str().unwrap(), "{key} of the {role} of {}", checkpoint.name());
    }
}

#[test]
fn tensors_are_those_that_diffusers_makes_of_the_file() {
    let Some(golden) = testkit::golden() else { return };
    let tables = &tables(&golden)["tables"];
    for (file, table) in [
        ("sd15.safetensors", "sd15"),
        ("sd15_legacy.ckpt", "sd15"),
        ("sd15_ema.ckpt", "sd15"),
        ("sdxl.safetensors", "sdxl"),
    ] {
        // With the configurations that go with it, and with those that follow from it.
        for reading in [config(&golden, table), Reading::default()] {
            let checkpoint = open(&golden, file, &reading).unwrap();
            let parts = tables[table].as_object().unwrap();
            for (folder, table) in parts {
                let role = Role::ALL.into_iter().find(|role| role.spec().folder == folder).unwrap();
                assert!(checkpoint.has(role), "{file} has no {role}");
                check(&checkpoint, role, table);
            }
            assert_eq!(parts.len(), checkpoint.single_file().unwrap().networks().count(), "{file}");
        }
    }
    let controlnet = open(&golden, "controlnet.safetensors", &config(&golden, "controlnet")).unwrap();
    assert!(controlnet.is_alone());
    assert_eq!(controlnet.roles(), [Role::ControlNet]);
    check(&controlnet, Role::ControlNet, &tables["controlnet"]["controlnet"]);
    let sd3 = open(&golden, "sd3_no_encoders.safetensors", &Reading::default()).unwrap();
    assert_eq!((sd3.family(), sd3.roles().len()), (Family::Sd3, 3));
    check(&sd3, Role::Mmdit, &tables["sd3_no_encoders"]["transformer"]);
    check(&sd3, Role::VaeEncoder, &tables["sd3_no_encoders"]["vae"]);
}

#[test]
fn averages_are_taken_where_they_are_asked_for() {
    let Some(golden) = testkit::golden() else { return };
    let tables = &tables(&golden)["tables"];
    let plain = open(&golden, "sd15_ema.ckpt", &Reading::default()).unwrap();
    assert!(plain.warnings().iter().any(|warning| warning.contains("--ema")), "{:?}", plain.warnings());
    let reading = Reading { averages: Averages::Taken, ..config(&golden, "sd15") };
    let averages = open(&golden, "sd15_ema.ckpt", &reading).unwrap();
    check(&averages, Role::UNet, &tables["sd15_ema"]["unet"]);
    check(&averages, Role::TextEncoder, &tables["sd15"]["text_encoder"]);
    assert!(!averages.warnings().iter().any(|warning| warning.contains("--ema")));
    let error = open(&golden, "sd15.safetensors", &reading).unwrap_err().to_string();
    assert!(error.contains("no average") && error.contains("leave out --ema"), "{error}");
}

#[test]
fn an_autoencoder_alone_is_read_with_and_without_its_prefix() {
    let Some(golden) = testkit::golden() else { return };
    let tables = &tables(&golden)["tables"];
    for reading in [Reading::default(), config(&golden, "sd15/vae"), config(&golden, "sd15")] {
        let vae = open(&golden, "vae_only.ckpt", &reading).unwrap();
        assert_eq!(vae.roles(), [Role::VaeDecoder, Role::VaeEncoder]);
        check(&vae, Role::VaeDecoder, &tables["sd15"]["vae"]);
        let groups = serde_json::from_slice::<Value>(&vae.config(Role::VaeDecoder).unwrap()).unwrap();
        // 16 by the configuration, and 32 where nothing says it.
        let said = if reading.config.is_some() { 16.into() } else { Value::Null };
        assert_eq!(groups["norm_num_groups"], said);
        assert_eq!(vae.warnings().is_empty(), reading.config.is_some(), "{:?}", vae.warnings());
    }
}

#[test]
fn a_folder_of_configurations_stands_before_what_follows_from_the_file() {
    let Some(golden) = testkit::golden() else { return };
    let sdxl = open(&golden, "sdxl.safetensors", &config(&golden, "sdxl")).unwrap();
    let unet: Value = serde_json::from_slice(&sdxl.config(Role::UNet).unwrap()).unwrap();
    assert_eq!(unet["attention_head_dim"], serde_json::json!([1, 2, 4]));
    // transformers 5 writes no class, and the index has it.
    let encoder: Value = serde_json::from_slice(&sdxl.config(Role::TextEncoder2).unwrap()).unwrap();
    assert_eq!(encoder["architectures"][0], "CLIPTextModelWithProjection");
    let read = |name: &str| sdxl.file(name).unwrap();
    assert_eq!(read("scheduler/scheduler_config.json").unwrap(), {
        std::fs::read(golden.join("single-file/config/sdxl/scheduler/scheduler_config.json")).unwrap()
    });
    // What the folder leaves out is made.
    let merges = golden.join("checkpoints/tiny-sd15/tokenizer/merges.txt");
    assert_eq!(read("tokenizer_2/merges.txt").unwrap(), std::fs::read(merges).unwrap());
    assert_eq!(sdxl.warnings(), [""; 0]);
    let nothing = tempfile::tempdir().unwrap();
    let error =
        open(&golden, "sdxl.safetensors", &Reading { config: Some(nothing.path().into()), ..Reading::default() });
    assert!(error.unwrap_err().to_string().contains("without any configuration"));
    let error = open(
        &golden,
        "sdxl.safetensors",
        &Reading { config: Some(PathBuf::from("no/such").into()), ..Reading::default() },
    );
    assert!(error.unwrap_err().to_string().contains("--config takes a folder"));
}

#[test]
fn a_prediction_that_is_asked_for_stands_before_all_else() {
    let Some(golden) = testkit::golden() else { return };
    let said = |reading: Reading, source: &str| {
        let checkpoint = Checkpoint::open_with(golden.join(source), Wanted::Model, &reading)?;
        let json = checkpoint.file("scheduler/scheduler_config.json")?.unwrap();
        Ok::<String, CheckpointError>(serde_json::from_slice::<Value>(&json).unwrap()["prediction_type"].to_string())
    };
    let velocity = Reading { prediction: Some(Prediction::Velocity), ..Reading::default() };
    let with_config = Reading { config: config(&golden, "sd15").config, ..velocity.clone() };
    assert_eq!(said(velocity.clone(), "single-file/sd15.safetensors").unwrap(), "\"v_prediction\"");
    assert_eq!(said(with_config, "single-file/sd15.safetensors").unwrap(), "\"v_prediction\"");
    assert_eq!(said(velocity.clone(), "checkpoints/tiny-sd15").unwrap(), "\"v_prediction\"");
    let error = said(velocity, "checkpoints/tiny-sd3").unwrap_err().to_string();
    assert!(error.contains("models that predict flow, and --prediction v is not"), "{error}");
    let flow = Reading { prediction: Some(Prediction::Flow), ..Reading::default() };
    assert!(said(flow.clone(), "single-file/sd15.safetensors").is_err());
    assert!(said(flow.clone(), "checkpoints/tiny-sd15").is_err());
    assert_eq!(said(flow, "checkpoints/tiny-sd3").unwrap(), "null");
}

#[test]
fn pickles_that_would_do_something_are_refused_and_do_nothing() {
    let Some(golden) = testkit::golden() else { return };
    for name in ["malicious_open.ckpt", "malicious_system_legacy.ckpt"] {
        for wanted in [Wanted::Checkpoint, Wanted::Model] {
            let error = Checkpoint::open_for(golden.join("single-file").join(name), wanted).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(!Path::new("smelt_pickle_marker").exists());
    }
}

#[test]
fn the_file_of_a_training_is_read_without_its_classes() {
    let Some(golden) = testkit::golden() else { return };
    // Its tensors are not all of an autoencoder: what is missing is said by whoever compares them.
    let vae = open(&golden, "vae_lightning.ckpt", &config(&golden, "sd15/vae")).unwrap();
    let table = tables(&golden)["tables"]["sd15"]["vae"].clone();
    let weights = vae.weights(Role::VaeDecoder).unwrap();
    assert!(weights.iter().count() > 10);
    for (key, weight) in weights.iter() {
        let hash: String = testkit::sha256(weight.constant().read().bytes());
        assert_eq!(hash, table[key]["sha256"], "{key}");
    }
    let alone = open(&golden, "vae_lightning.ckpt", &Reading::default()).unwrap();
    let error = alone.network(Role::VaeDecoder).unwrap_err().to_string();
    assert!(error.contains("it has no decoder.conv_out.weight; the file may be incomplete"), "{error}");
}
