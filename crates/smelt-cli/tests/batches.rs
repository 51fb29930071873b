//! Denoisers for one sample at a time and for two, over one set of weights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{fail, json, names, succeed, text};
use mlpackage::Package;
use serde_json::Value;
use testkit::{assert_psnr, demo, golden, load_safetensors};

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
const UNET: &str = "Stable_Diffusion_version_sd-emoji_unet";

fn convert(checkpoint: &Path, output: &Path, more: &str) -> Value {
    let (checkpoint, output) = (text(checkpoint), text(output));
    json(["convert", &checkpoint, "-o", &output].into_iter().chain(more.split_whitespace()))
}

fn weight_bytes(package: &Path) -> u64 {
    std::fs::metadata(package.join(WEIGHTS)).unwrap().len()
}

/// Functions of a package as `inspect` tells them, and of these the default.
fn functions(package: &Path) -> (BTreeSet<String>, String) {
    let facts = json(["inspect", &text(package)]);
    let functions = facts["model"]["functions"].as_array().unwrap().clone();
    let name = |f: &Value| f["name"].as_str().unwrap().to_owned();
    let default = functions.iter().find(|f| f["is_default"] == true).map(name).unwrap();
    (functions.iter().map(name).collect(), default)
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn draw(models: &Path, picture: &Path, more: &str) -> Vec<u8> {
    let (models, output) = (text(models), text(picture));
    let fixed = ["generate", "rocket", "-m", &models, "-o", &output, "--steps", "2", "--guidance", "4"];
    succeed(fixed.into_iter().chain(more.split_whitespace()));
    std::fs::read(picture).unwrap()
}

/// Every function of a package agrees with the checkpoint.
#[track_caller]
fn verify(package: &Path, checkpoint: &Path, n_functions: usize) {
    let verified = json(["verify", &text(package), "--against", &text(checkpoint)]);
    assert_eq!(verified["passed"], true, "{verified}");
    let outputs = verified["outputs"].as_array().unwrap();
    let compared: BTreeSet<&str> = outputs.iter().filter_map(|output| output["function"].as_str()).collect();
    assert_eq!(compared.len(), n_functions, "{verified}");
}

#[test]
fn both_batches_are_functions_of_one_package_that_stores_its_weights_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, both) = (dir.path().join("sd-emoji"), dir.path().join("both/sd-emoji"));
    convert(&demo(), &one, "--target macOS15");
    let made = convert(&demo(), &both, "--target macOS15 --unet-batches 1,2");
    let unet = made["packages"].as_array().unwrap().iter().find(|p| p["component"] == "unet").unwrap();
    assert_eq!(unet["batches"], serde_json::json!([1, 2]));
    assert_eq!(names(&one), names(&both));
    let package = |dir: &Path| dir.join(format!("{UNET}.mlpackage"));
    assert_eq!(functions(&package(&both)), (set(["batch_1", "batch_2"]), "batch_2".to_owned()));
    assert_eq!(weight_bytes(&package(&both)), weight_bytes(&package(&one)), "the weights are there once");
    verify(&package(&both), &demo(), 2);

    // A pipeline takes the default, prompt and negative prompt at once.
    let picture = dir.path().join("x.png");
    assert!(draw(&both, &picture, "") == draw(&one, &picture, ""), "another picture");

    // All functions are compressed and cut at once.
    let cut = json(["chunk", &text(package(&both)), "-n", "2", "-o", &text(dir.path().join("cut")), "--check"]);
    assert_eq!(cut["identical"], true);
    let packed = dir.path().join("four.mlpackage");
    succeed(["compress", &text(package(&both)), "-o", &text(&packed), "--bits", "4"]);
    assert_eq!(functions(&packed), (set(["batch_1", "batch_2"]), "batch_2".to_owned()));
}

#[test]
fn a_function_of_batch_one_computes_what_a_model_of_batch_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let (both, alone) = (dir.path().join("both/sd-emoji"), dir.path().join("alone/sd-emoji"));
    let unet = "--component unet --target macOS15";
    convert(&demo(), &both, &format!("{unet} --unet-batches 2,1"));
    convert(&demo(), &alone, &format!("{unet} --unet-batch-one"));
    let package = |dir: &Path| dir.join(format!("{UNET}.mlpackage"));
    let inputs = dir.path().join("in.safetensors");
    write_inputs(&package(&both), "batch_1", &inputs);
    let run = |package: PathBuf, name: &str, more: &[&str]| {
        let (package, outputs) = (text(package), dir.path().join(name));
        let fixed = ["run", &package, "--inputs", &text(&inputs), "--outputs", &text(&outputs)].map(str::to_owned);
        succeed(fixed.into_iter().chain(more.iter().map(|s| (*s).to_owned())));
        std::fs::read(outputs).unwrap()
    };
    let function = run(package(&both), "both.safetensors", &["--function", "batch_1"]);
    assert!(function == run(package(&alone), "alone.safetensors", &[]), "another result");
}

/// Random numbers for the inputs of a package's function.
fn write_inputs(package: &Path, function: &str, to: &Path) {
    let package = Package::open(package).unwrap();
    let function = &package.model().program().unwrap().functions[function];
    let mut random = testkit::Rng::new(7);
    let tensors = function.inputs.iter().map(|&input| {
        let shape: Vec<usize> =
            function.ty(input).as_tensor().unwrap().shape.iter().map(|dim| dim.size().unwrap()).collect();
        assert_eq!(shape[0], 1, "{}", function.name_of(input));
        let values = random.normals(shape.iter().product());
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        (function.name_of(input).to_owned(), (safetensors::Dtype::F32, shape, bytes))
    });
    common::made::write(to, &tensors.collect());
}

#[test]
fn sizes_and_batches_are_functions_for_each_pair() {
    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("sd-emoji");
    let made = convert(&demo(), &all, "--target macOS15 --unet-batches 1,2 --latent-size 16x16,24x16");
    let unet = all.join(format!("{UNET}.mlpackage"));
    let four = set(["size_16x16_batch_1", "size_16x16_batch_2", "size_24x16_batch_1", "size_24x16_batch_2"]);
    assert_eq!(functions(&unet), (four, "size_16x16_batch_2".to_owned()));
    let decoder = made["packages"].as_array().unwrap().iter().find(|p| p["component"] == "vae-decoder").unwrap();
    assert_eq!(decoder["batches"], serde_json::json!([]), "only denoisers have a batch");
    verify(&unet, &demo(), 4);
    for size in ["16x16", "24x16"] {
        let (picture, more) = (dir.path().join("x.png"), format!("--latent-size {size}"));
        assert!(draw(&all, &picture, &more) == draw(&demo(), &picture, &more), "{size}: another picture");
    }
}

#[cfg(unix)]
#[test]
fn below_macos_15_batches_are_packages_that_share_a_weight_file() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    for (n, more) in ["", "--quantize-nbits 6 --chunk-unet", "--latent-size 16x16,24x16"].into_iter().enumerate() {
        let output = dir.path().join(format!("{n}/sd-emoji"));
        convert(&demo(), &output, &format!("--unet-batches 1,2 {more}"));
        let inode = |name: String| std::fs::metadata(output.join(name).join(WEIGHTS)).unwrap().ino();
        let mut others = vec!["_batch1"];
        if more.contains("size") {
            others.extend(["_24x16", "_24x16_batch1"]);
        }
        for other in others {
            for chunk in if more.contains("chunk") { &["", "_chunk1", "_chunk2"][..] } else { &[""] } {
                let first = format!("{UNET}{chunk}.mlpackage");
                assert_eq!(inode(first), inode(format!("{UNET}{other}{chunk}.mlpackage")), "{other}{chunk}");
            }
        }
        let picture = dir.path().join("x.png");
        if !more.contains("bits") {
            verify(&output.join(format!("{UNET}_batch1.mlpackage")), &demo(), 1);
            assert!(draw(&output, &picture, "") == draw(&demo(), &picture, ""), "{more}: another picture");
        }
        // Compressed as a directory, what shared a weight file does again.
        let packed = dir.path().join(format!("{n}-packed"));
        if more.is_empty() {
            succeed(["compress", &text(&output), "-o", &text(&packed), "--bits", "8"]);
            let inode = |name: &str| std::fs::metadata(packed.join(name).join(WEIGHTS)).unwrap().ino();
            assert_eq!(inode(&format!("{UNET}.mlpackage")), inode(&format!("{UNET}_batch1.mlpackage")));
        }
    }
}

/// Apple's converter cannot trace XL's UNet with `--unet-batch-one`: its time ids stay those of two samples.
#[test]
fn a_batch_of_one_works_for_xl_too() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = golden.join("checkpoints/mini-sdxl");
    convert(&checkpoint, dir.path(), "--component unet,control-unet --target macOS15 --unet-batches 1,2");
    let package = |role: &str| dir.path().join(format!("Stable_Diffusion_version_mini-sdxl_{role}.mlpackage"));
    for role in ["unet", "control-unet"] {
        assert_eq!(functions(&package(role)).0, set(["batch_1", "batch_2"]));
        verify(&package(role), &checkpoint, 2);
    }
    for (function, reference) in [("batch_1", "unet_batch_one"), ("batch_2", "unet")] {
        let reference = golden.join(format!("refs/mini-sdxl/{reference}.safetensors"));
        let (unet, outputs) = (text(package("unet")), dir.path().join("out.safetensors"));
        let (inputs, to) = (text(&reference), text(&outputs));
        succeed(["run", &unet, "--function", function, "--inputs", &inputs, "--outputs", &to]);
        let (expected, got) = (load_safetensors(&reference), load_safetensors(&outputs));
        assert_psnr(function, &expected["out.noise_pred"], &got["noise_pred"], 60.0);
    }
}

#[test]
fn control_nets_and_refiners_have_both_batches_too() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (checkpoint, component, package) in [
        ("mini-sdxl-controlnet", "controlnet", "ControlNet_mini-sdxl-controlnet"),
        ("pico-cn-a", "controlnet", "ControlNet_pico-cn-a"),
        ("tiny-sdxl-refiner", "refiner", "Stable_Diffusion_version_tiny-sdxl-refiner_refiner"),
    ] {
        let from = golden.join("checkpoints").join(checkpoint);
        let output = dir.path().join(checkpoint);
        let shape = "--latent-size 16x16 --unet-batches 1,2";
        let made = convert(&from, &output, &format!("--component {component} {shape}"));
        assert_eq!(made["packages"][1]["is_shared"], true, "{made}");
        for name in [package.to_owned(), format!("{package}_batch1")] {
            verify(&output.join(format!("{name}.mlpackage")), &from, 1);
        }
        convert(&from, &output, &format!("--component {component} {shape} --target macOS15 --force"));
        verify(&output.join(format!("{package}.mlpackage")), &from, 2);
    }
}

#[test]
fn contradictions_and_batches_without_effect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("x");
    let refuse = |more: &str| {
        let (checkpoint, to) = (text(demo()), text(&output));
        let message = fail(["convert", &checkpoint, "-o", &to].into_iter().chain(more.split_whitespace()));
        assert!(!output.exists());
        message
    };
    let message = refuse("--unet-batch-one --unet-batches 1,2");
    assert!(message.contains("--unet-batches 1,2 contradicts it"), "{message}");
    let message = refuse("--unet-batches 2,2");
    assert!(message.contains("batch 2 is given twice"), "{message}");
    let message = refuse("--component vae-decoder --unet-batches 1,2");
    assert!(message.contains("no effect here: it is for unet, control-unet, refiner, mmdit, controlnet"), "{message}");
    convert(&demo(), &output, "--component unet --unet-batch-one --unet-batches 1");
    assert_eq!(functions(&output.join(format!("{UNET}.mlpackage"))).0, set(["main"]));
}
