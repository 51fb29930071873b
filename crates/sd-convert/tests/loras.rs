//! Networks with golden LoRAs merged into them, run on the reference engine, against PyTorch.

#![allow(clippy::print_stdout, reason = "a table of what was measured belongs to the test")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use host_tensor::Stop;
use mil_engine::reference::{Options as EngineOptions, Reference, Rounding};
use sd_checkpoint::Lora;
use sd_checkpoint::lora::{Fitting, Strength};
use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use testkit::{load_safetensors, psnr};

/// Least PSNR against PyTorch of programs in f32, in dB.
const FLOAT32_DB: f64 = 70.0;

/// Runs every network that the LoRAs change; returns the worst PSNR and how many outputs were compared.
fn worst_psnr(golden: &Path, name: &str, checkpoint: &Checkpoint, base: &str) -> (f64, usize) {
    let expected = load_safetensors(golden.join(format!("loras/expected/{name}.safetensors")));
    let (mut worst, mut n) = (f64::INFINITY, 0);
    for role in [Role::UNet, Role::TextEncoder, Role::TextEncoder2] {
        let folder = role.spec().folder;
        let prefix = format!("out.{folder}.");
        if !expected.keys().any(|key| key.starts_with(&prefix)) {
            continue;
        }
        let options = Options { precision: Some(Precision::Float32), ..Options::default() };
        let program = convert(checkpoint, role, &options).unwrap().program;
        let valid = mil::validate(&program).unwrap();
        let engine = Reference::compile(valid, EngineOptions::default().with_rounding(Rounding::Boundary)).unwrap();
        let inputs = load_safetensors(golden.join(format!("refs/{base}/{folder}.safetensors")));
        let inputs = inputs.into_iter().filter_map(|(key, t)| Some((key.strip_prefix("in.")?.to_owned(), t))).collect();
        for (output, got) in engine.run(&inputs, &Stop::never()).unwrap() {
            let Some(want) = expected.get(&format!("{prefix}{output}")) else { continue };
            worst = worst.min(psnr(&want.to_f32_vec(), &got.to_f32_vec()));
            n += 1;
        }
    }
    (worst, n)
}

fn with(golden: &Path, checkpoint: Checkpoint, lora: &str, weight: f32) -> Checkpoint {
    let lora = Lora::open(&golden.join(format!("loras/{lora}.safetensors"))).unwrap();
    let strength = Strength { denoiser: weight, text: weight };
    let fitted = Fitting::new(&checkpoint).unwrap().fit(&lora, strength).unwrap();
    checkpoint.with(fitted)
}

#[test]
fn outputs_with_golden_loras_match_pytorch() {
    let Some(golden) = testkit::golden() else { return };
    let index = std::fs::read(golden.join("loras/index.json")).unwrap();
    let index: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_slice(&index).unwrap();
    for (name, entry) in &index {
        if !golden.join(format!("loras/expected/{name}.safetensors")).is_file() {
            continue;
        }
        let base = entry["base"].as_str().unwrap();
        let mut checkpoint = Checkpoint::open(golden.join("checkpoints").join(base)).unwrap();
        let one = serde_json::json!([[name, entry["weight"]]]);
        for pair in entry.get("loras").unwrap_or(&one).as_array().unwrap() {
            checkpoint = with(&golden, checkpoint, pair[0].as_str().unwrap(), pair[1].as_f64().unwrap() as f32);
        }
        let (worst, n) = worst_psnr(&golden, name, &checkpoint, base);
        println!("{name:<28} {n} outputs {worst:6.1} dB");
        assert!(n > 0 && worst >= FLOAT32_DB, "{name}: {worst:.1} dB");
    }
}
