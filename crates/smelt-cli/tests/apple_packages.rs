//! `inspect`, `run` and `verify` on packages that Apple's converter wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{fail, json, run, succeed, text};
use testkit::{assert_psnr, golden, load_safetensors};

fn package(golden: &Path, variant: &str, submodule: &str) -> String {
    let name = format!("Stable_Diffusion_version_tiny-sd15_{submodule}.mlpackage");
    text(golden.join("packages/tiny-sd15").join(variant).join(name))
}

fn reference(golden: &Path, name: &str) -> PathBuf {
    golden.join("refs/tiny-sd15").join(format!("{name}.safetensors"))
}

#[test]
fn inspect_says_what_a_package_holds() {
    let Some(golden) = golden() else { return };
    let unet = package(&golden, "split_einsum", "unet");
    let facts = json(["inspect", &unet]);
    assert_eq!(facts["model"]["specification_version"], 7);
    let main = &facts["model"]["functions"][0];
    assert_eq!((main["name"].as_str(), main["opset"].as_str()), (Some("main"), Some("CoreML6")));
    let inputs: Vec<&str> = main["inputs"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["sample", "timestep", "encoder_hidden_states"]);
    assert_eq!(main["inputs"][0]["type"], "fp16 [2, 4, 16, 16]");
    assert!(main["operations"].as_array().unwrap().iter().any(|op| op[0] == "conv"));
    assert_eq!(main["weights"][0]["dtype"], "fp16");
    let share: f64 = main["weights"].as_array().unwrap().iter().map(|w| w["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");

    let palettized = json(["inspect", &package(&golden, "q6", "unet")]);
    let weights = palettized["model"]["functions"][0]["weights"].clone();
    assert_eq!(weights[0]["dtype"], "uint8", "packed indices are the largest part: {weights}");

    let text = succeed(["inspect", &unet]);
    assert!(text.contains("function main · opset CoreML6") && text.contains("noise_pred"), "{text}");
}

#[test]
fn inspect_mil_prints_a_program_that_parses() {
    let Some(golden) = golden() else { return };
    let text = succeed(["inspect", "--mil", &package(&golden, "split_einsum", "text_encoder")]);
    assert!(text.starts_with("program(1.0)"), "{}", &text[..80.min(text.len())]);
    assert!(text.contains("tensor<fp32, [1, 77]> input_ids"), "{text}");
}

#[test]
fn apples_packages_run_as_near_to_pytorch_as_they_can() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    // golden/README.md: what an independent interpreter reached, less one decibel.
    for (submodule, reference_name, min_db) in
        [("text_encoder", "text_encoder", 96.0), ("unet", "unet_t1", 80.5), ("vae_decoder", "vae_decoder", 85.0)]
    {
        let outputs = text(dir.path().join("out.safetensors"));
        let reference = reference(&golden, reference_name);
        let package = package(&golden, "split_einsum", submodule);
        succeed(["run", &package, "--inputs", &text(&reference), "--outputs", &outputs]);
        let (expected, got) = (load_safetensors(&reference), load_safetensors(&outputs));
        for (name, tensor) in &got {
            assert_psnr(&format!("{submodule} {name}"), &expected[&format!("out.{name}")], tensor, min_db);
        }
        assert!(!got.is_empty());
    }
}

#[test]
fn rounding_to_declared_types_costs_precision() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let reference = reference(&golden, "vae_decoder");
    let package = package(&golden, "split_einsum", "vae_decoder");
    let db = |rounding: &str| {
        let outputs = text(dir.path().join(format!("{rounding}.safetensors")));
        succeed(["run", &package, "--inputs", &text(&reference), "--outputs", &outputs, "--rounding", rounding]);
        assert_psnr(rounding, &load_safetensors(&reference)["out.image"], &load_safetensors(&outputs)["image"], 60.0)
    };
    let (exact, rounded) = (db("f32"), db("declared"));
    assert!(rounded < exact - 5.0, "{rounded} against {exact} dB");
}

#[cfg(unix)]
#[test]
fn chunks_draw_what_the_whole_unet_draws() {
    let Some(golden) = golden() else { return };
    let place = tempfile::tempdir().unwrap();
    let draw = |name: &str, unets: &[String]| {
        // The directory's name is in the picture's settings.
        let dir = place.path().join(name).join("models");
        std::fs::create_dir_all(&dir).unwrap();
        let others = ["text_encoder", "vae_decoder"].map(|part| package(&golden, "split_einsum", part));
        for package in unets.iter().chain(&others) {
            let link = dir.join(Path::new(package).file_name().unwrap());
            std::os::unix::fs::symlink(package, link).unwrap();
        }
        let (picture, tokenizer) =
            (place.path().join(format!("{name}.png")), golden.join("checkpoints/tiny-sd15/tokenizer"));
        let (dir, tokenizer, output) = (text(dir), text(tokenizer), text(&picture));
        let fixed = ["generate", "a horse", "--steps", "1", "-m", &dir, "--tokenizer", &tokenizer, "-o", &output];
        succeed(fixed);
        std::fs::read(picture).unwrap()
    };
    let whole = draw("whole", &[package(&golden, "q6", "unet")]);
    let chunk = |submodule| package(&golden, "q6_then_chunk", submodule);
    let chunks = draw("chunks", &[chunk("unet_chunk1"), chunk("unet_chunk2")]);
    assert!(whole == chunks, "the pictures differ");
}

#[test]
fn wrong_inputs_are_told_all_at_once() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let outputs = text(dir.path().join("out.safetensors"));
    let message = fail([
        "run",
        &package(&golden, "split_einsum", "unet"),
        "--inputs",
        &text(reference(&golden, "unet_32x24")),
        "--outputs",
        &outputs,
    ]);
    assert!(message.contains("sample has shape [2, 4, 32, 24]"), "{message}");
    let message = fail([
        "run",
        &package(&golden, "split_einsum", "unet"),
        "--inputs",
        &text(reference(&golden, "vae_decoder")),
        "--outputs",
        &outputs,
    ]);
    for fact in ["there is no input z", "sample is missing", "timestep is missing", "encoder_hidden_states is missing"]
    {
        assert!(message.contains(fact), "{fact} is not in: {message}");
    }
    assert!(!Path::new(&outputs).exists());
}

#[test]
fn verify_measures_one_package_against_another() {
    let Some(golden) = golden() else { return };
    let (whole, palettized) = (package(&golden, "original", "unet"), package(&golden, "q2", "unet"));
    let split = package(&golden, "split_einsum", "unet");
    let summary = json(["verify", &split, "--against", &whole]);
    assert_eq!(summary["passed"], true);
    assert_eq!(summary["outputs"][0]["name"], "noise_pred");
    let same = json(["verify", &whole, "--against", &whole]);
    assert_eq!(same["outputs"][0]["identical"], true);
    let ran = run(["verify", &palettized, "--against", &whole, "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["passed"], false);
    assert!(summary["outputs"][0]["psnr_db"].as_f64().unwrap() < 35.0);
    let message = fail(["verify", &split, "--against", &package(&golden, "split_einsum", "vae_decoder")]);
    assert!(message.contains("takes encoder_hidden_states [2, 64, 1, 77]") && message.contains("z ["), "{message}");
}

#[test]
fn what_is_no_package_is_a_named_error() {
    let dir = tempfile::tempdir().unwrap();
    let empty = text(dir.path());
    assert!(fail(["inspect", &empty]).contains("an empty folder; give a package, whose name ends with .mlpackage"));
    let missing = text(dir.path().join("x.mlpackage"));
    assert!(fail(["inspect", &missing]).contains("x.mlpackage is not there"));
    std::fs::create_dir(dir.path().join("x.mlpackage")).unwrap();
    assert!(fail(["inspect", &missing]).contains("there is no Manifest.json"));
    let compiled = text(dir.path().join("x.mlmodelc"));
    std::fs::create_dir(dir.path().join("x.mlmodelc")).unwrap();
    assert!(fail(["inspect", &compiled]).contains("there is no model.mil in it"));
    assert_eq!(run(["inspect"]).code, Some(2));
    assert_eq!(run(["frobnicate"]).code, Some(2));
}
