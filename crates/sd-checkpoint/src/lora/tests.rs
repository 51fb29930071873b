//! LoRAs against golden data and plain formulas.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_tensor::HostTensor;
use serde_json::Value;

use super::*;
use crate::Checkpoint;

mod made;

fn golden() -> Option<(PathBuf, BTreeMap<String, Value>)> {
    let golden = testkit::golden()?;
    let index = std::fs::read(golden.join("loras/index.json")).unwrap();
    Some((golden, serde_json::from_slice(&index).unwrap()))
}

fn open(golden: &Path, name: &str) -> Lora {
    Lora::open(&golden.join(format!("loras/{name}.safetensors"))).unwrap()
}

fn base(golden: &Path, entry: &Value) -> Checkpoint {
    Checkpoint::open(golden.join("checkpoints").join(entry["base"].as_str().unwrap())).unwrap()
}

/// The largest error in steps of f16 at the reference's magnitude.
fn steps(expected: &HostTensor, got: &HostTensor) -> f64 {
    let error = |(&expected, got): (&f32, f32)| {
        let step = 2f64.powi((expected.abs().max(6.1e-5) as f64).log2().floor() as i32 - 10);
        (f64::from(expected) - f64::from(got)).abs() / step
    };
    expected.to_f32_vec().iter().zip(got.to_f32_vec()).map(error).fold(0.0, f64::max)
}

#[test]
fn golden_loras_merge_as_the_programs_that_made_them_do() {
    let Some((golden, index)) = golden() else { return };
    let mut n_tensors = 0;
    for (name, entry) in &index {
        let expected = golden.join(format!("loras/expected/{name}.safetensors"));
        if !expected.is_file() || entry["loras"].is_array() {
            continue;
        }
        let (lora, checkpoint) = (open(&golden, name), base(&golden, entry));
        let weight = entry["weight"].as_f64().unwrap() as f32;
        let fitting = Fitting::new(&checkpoint).unwrap();
        let fitted = fitting.fit(&lora, Strength { denoiser: weight, text: weight }).unwrap();
        let unmatched: Vec<&str> = entry["unmatched"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(fitted.unapplied(), unmatched, "{name}");
        assert_eq!(fitting.refuse_unapplied(&lora, &fitted).is_err(), !unmatched.is_empty(), "{name}");
        let merged = checkpoint.with(fitted);
        for (key, expected) in testkit::load_safetensors(&expected) {
            let Some((folder, key)) = key.strip_prefix("merged.").and_then(|key| key.split_once('.')) else { continue };
            if !key.ends_with(".weight") {
                continue;
            }
            let role = sd_spec::Role::ALL.into_iter().find(|role| role.spec().folder == folder).unwrap();
            let weights = merged.weights(role).unwrap();
            let error = steps(&expected, &weights.get(key).unwrap().constant().read());
            // Sums in f32 are far closer than a step of f16, but for numbers that are almost zero.
            assert!(error < 0.25, "{name}: {key} is {error} steps off");
            n_tensors += 1;
        }
    }
    assert!(n_tensors > 100, "{n_tensors} tensors were compared");
}

#[track_caller]
fn refused(golden: &Path, name: &str, checkpoint: &str, facts: &[&str]) {
    let checkpoint = Checkpoint::open(golden.join("checkpoints").join(checkpoint)).unwrap();
    let (lora, fitting) = (open(golden, name), Fitting::new(&checkpoint).unwrap());
    let fitted = fitting.fit(&lora, Strength::default());
    let error = fitted.and_then(|fitted| fitting.refuse_unapplied(&lora, &fitted)).unwrap_err().to_string();
    assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    let Some((golden, _)) = golden() else { return };
    let proj_in = "lora_unet_down_blocks_0_attentions_0_proj_in";
    let wrong = format!("{proj_in}.lora_down.weight has shape [4, 72]");
    let weight = "does not fit down_blocks.0.attentions.0.proj_in.weight of shape [64, 64, 1, 1]";
    refused(&golden, "sd15_bad_shape", "tiny-sd15", &["sd15_bad_shape.safetensors", &wrong, weight]);
    let to_q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let missing = format!("{to_q} has no .lora_up.weight beside");
    refused(&golden, "sd15_no_up", "tiny-sd15", &["sd15_no_up.safetensors", &missing]);
    for (name, base) in [("sd15_unmatched", "tiny-sd15"), ("sdxl_unmatched", "mini-sdxl")] {
        let text = "lora_te_text_model_encoder_layers_99_mlp_fc1.lora_up.weight";
        let unet = "lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight";
        refused(&golden, name, base, &["2 tensors fit nothing", "--allow-unapplied", text, unet]);
    }
}

#[test]
fn a_lora_for_another_family_is_said_to_be_one() {
    let Some((golden, index)) = golden() else { return };
    let xl = "a LoRA for Stable Diffusion XL, and the checkpoint is ";
    for name in index.keys().filter(|name| name.starts_with("sdxl_")) {
        refused(&golden, name, "tiny-sd15", &[xl]);
    }
    refused(&golden, "sd15_kohya", "mini-sdxl", &["a LoRA for Stable Diffusion 1, and the checkpoint is "]);
}

#[test]
fn facts_say_what_a_lora_is() {
    let Some((golden, index)) = golden() else { return };
    for (name, kind) in [
        ("sd15_kohya", "LoRA"),
        ("sd15_locon_mid", "LoCon with a core (Tucker)"),
        ("sdxl_loha", "LoHa"),
        ("sd15_lokr", "LoKr"),
        ("sdxl_peft", "LoRA"),
        ("sd15_attn_procs", "LoRA"),
    ] {
        let facts = open(&golden, name).facts();
        let n_modules = index[name]["modules"].as_u64().unwrap() as usize;
        assert_eq!(facts.modules.values().sum::<usize>(), n_modules, "{name}");
        assert_eq!(facts.n_tensors as u64, index[name]["tensors"].as_u64().unwrap(), "{name}");
        assert!(facts.kinds.contains_key(kind), "{name}: {:?}", facts.kinds);
        assert_eq!(facts.base.is_some_and(|base| base.ends_with("XL")), name.starts_with("sdxl"), "{name}");
    }
    let kohya = open(&golden, "sdxl_kohya").facts();
    assert_eq!((kohya.ranks, kohya.alphas), (vec![2, 3, 4], vec![1.0, 1.5, 2.0]));
    assert!(open(&golden, "sd15_dora_peft").facts().is_dora && !kohya.is_dora);
}
