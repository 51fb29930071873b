//! LoRAs from the command line: merged while a checkpoint is converted, drawn with and verified.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use common::made::{self, Made, Owned, UNET};
use common::{Ran, command, fail, json, run, succeed, text};
use host_tensor::{DType, HostTensor};
use safetensors::Dtype;
use sd_runtime::image::RgbImage;
use testkit::hub::HubServer;

const TEXT: &str = "text_encoder/model.safetensors";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
/// What every element of a changed weight grows by at strength 1: exact in f16, as all of these numbers are.
const ADDED: f32 = 0.125;

fn f32s(shape: &[usize], value: f32) -> Owned {
    let n: usize = shape.iter().product();
    (Dtype::F32, shape.to_vec(), value.to_le_bytes().repeat(n))
}

/// The first linear layers of the demo model's UNet and text encoder: key and shape.
fn layers() -> [(String, Vec<usize>); 2] {
    [(UNET, "attn1.to_q.weight"), (TEXT, "self_attn.q_proj.weight")].map(|(file, end)| {
        let tensors = made::read(&testkit::demo().join(file));
        let (key, (_, shape, _)) = tensors.into_iter().find(|(key, _)| key.ends_with(end)).unwrap();
        (key, shape)
    })
}

/// A LoRA of rank 2 and alpha 1 for both layers.
fn tensors() -> BTreeMap<String, Owned> {
    let mut tensors = BTreeMap::new();
    for ((key, shape), prefix) in layers().into_iter().zip(["lora_unet_", "lora_te_"]) {
        let module = format!("{prefix}{}", key.strip_suffix(".weight").unwrap().replace('.', "_"));
        tensors.insert(format!("{module}.lora_down.weight"), f32s(&[2, shape[1]], ADDED));
        tensors.insert(format!("{module}.lora_up.weight"), f32s(&[shape[0], 2], 1.0));
        tensors.insert(format!("{module}.alpha"), f32s(&[], 1.0));
    }
    tensors
}

fn lora(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    made::write(&path, &tensors());
    path
}

/// A copy of the demo model with these numbers added to the weights of both layers.
fn merged(root: PathBuf, added: [f32; 2]) -> Made {
    layers().into_iter().zip([UNET, TEXT]).zip(added).fold(Made::demo(root), |made, (((key, _), file), added)| {
        made.tensors(file, |tensors| {
            let (dtype, shape, data) = tensors[&key].clone();
            let dtype = DType::from_name(if dtype == Dtype::F16 { "fp16" } else { "fp32" }).unwrap();
            let values = HostTensor::new(dtype, shape.clone(), data.into()).unwrap().to_f32_vec();
            let sums = values.into_iter().flat_map(|value| (value + added).to_le_bytes()).collect();
            tensors.insert(key.clone(), (Dtype::F32, shape, sums));
        })
    })
}

fn convert(source: &str, to: &Path, more: &[&str]) {
    let component = ["--component", "unet,text-encoder", "--model-version", "demo"];
    succeed(["convert", source, "-o", &text(to)].into_iter().chain(component).chain(more.iter().copied()));
}

fn weights(dir: &Path, role: &str) -> Vec<u8> {
    fs::read(dir.join(format!("Stable_Diffusion_version_demo_{role}.mlpackage")).join(WEIGHTS)).unwrap()
}

#[test]
fn packages_have_the_weights_of_a_checkpoint_that_was_merged_before() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, first) = (text(testkit::demo()), lora(dir.path(), "first.safetensors"));
    lora(dir.path(), "loras/second.safetensors");
    let (with, before) = (dir.path().join("with"), dir.path().join("before"));
    let (first, folder) = (format!("{}:2:-1", text(first)), text(dir.path().join("loras")));
    convert(&demo, &with, &["--lora", &first, "--lora", "second:0.5", "--lora-dir", &folder]);
    // Alpha is half of the rank, and the rank is two.
    let made = merged(dir.path().join("merged"), [ADDED * 2.5, ADDED * -0.5]);
    convert(&text(made.root), &before, &[]);
    for role in ["unet", "text_encoder"] {
        assert!(weights(&with, role) == weights(&before, role), "the weights of {role} differ");
    }
    let settings: serde_json::Value = serde_json::from_slice(&fs::read(with.join("smelt.json")).unwrap()).unwrap();
    let applied = serde_json::json!([
        {"name": "first", "weight": 2.0, "text_weight": -1.0},
        {"name": "second", "weight": 0.5, "text_weight": 0.5}
    ]);
    assert_eq!(settings["loras"], applied);
    let named = |source: &serde_json::Value| source["part"] == "lora" && source["file"] == "second.safetensors";
    assert!(settings["sources"].as_array().unwrap().iter().any(named), "{settings}");
    let unet = text(with.join("Stable_Diffusion_version_demo_unet.mlpackage"));
    let metadata = json(["inspect", &unet])["model"]["metadata"].clone();
    let own = serde_json::json!(["smelt.loras", "first:2:-1, second:0.5"]);
    assert!(metadata.as_array().unwrap().contains(&own), "{metadata}");
    // The packages are those of the checkpoint with the LoRAs, and not of the checkpoint alone.
    let verify = ["verify", &unet, "--against", &demo, "--component", "unet"];
    let loras = ["--lora", &first, "--lora", "second:0.5", "--lora-dir", &folder];
    let decibels = |more: &[&str]| {
        let outputs = json(verify.iter().chain(more))["outputs"].clone();
        outputs[0]["psnr_db"].as_f64().unwrap()
    };
    let (with_them, without) = (decibels(&loras), decibels(&[]));
    assert!(with_them > without + 20.0, "{with_them} dB, and {without} dB without the LoRAs");
    // Another mixture does not enter the same folder without a word.
    let other = text(dir.path().join("first.safetensors"));
    let message = fail(
        ["convert", &demo, "-o", &text(&with), "--component", "vae-decoder", "--model-version", "demo"]
            .into_iter()
            .chain(["--lora", &other]),
    );
    assert!(message.contains("smelt.json"), "{message}");
}

#[test]
fn a_lora_of_the_hub_is_fetched_and_merged_as_the_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let (demo, file) = (text(testkit::demo()), lora(dir.path(), "style.safetensors"));
    let repository =
        BTreeMap::from([("README.md".to_owned(), vec![0]), ("style.safetensors".to_owned(), fs::read(&file).unwrap())]);
    let server = HubServer::new(repository);
    let (of_hub, of_file) = (dir.path().join("hub"), dir.path().join("file"));
    let usual = ["--component", "unet,text-encoder", "--model-version", "demo"];
    let convert = |output: &Path, more: &[&str]| -> Ran {
        let mut command = command([&["convert", &demo, "-o", &text(output)], &usual[..], more].concat());
        command.env("HF_ENDPOINT", server.endpoint()).env("HF_HUB_CACHE", dir.path().join("cache"));
        command.env("HF_HOME", dir.path().join("home")).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
        command.output().unwrap().into()
    };
    let absent = convert(&of_hub, &["--lora", "hf:someone/model:2:-1", "--offline"]);
    assert!(
        absent.code == Some(1) && absent.stderr.contains("hf:someone/model: it is not in the cache"),
        "{}",
        absent.stderr
    );
    let ran = convert(&of_hub, &["--lora", "hf:someone/model:2:-1"]);
    assert!(ran.code == Some(0) && ran.stderr.contains("fetching hf:someone/model"), "{}", ran.stderr);
    assert_eq!(convert(&of_file, &["--lora", &format!("{}:2:-1", text(file))]).code, Some(0));
    for role in ["unet", "text_encoder"] {
        assert!(weights(&of_hub, role) == weights(&of_file, role), "the weights of {role} differ");
    }
    drop(server.requests());
    let again = dir.path().join("again");
    let ran = convert(&again, &["--lora", "hf:someone/model/style.safetensors:0.5", "--offline"]);
    assert_eq!((ran.code, server.requests()), (Some(0), Vec::new()), "{}", ran.stderr);
    let settings: serde_json::Value = serde_json::from_slice(&fs::read(again.join("smelt.json")).unwrap()).unwrap();
    assert_eq!(settings["loras"][0]["name"], "style");
}

#[test]
fn pictures_are_drawn_with_loras_and_packages_refuse_them() {
    let dir = tempfile::tempdir().unwrap();
    let (lora, demo) = (text(lora(dir.path(), "style.safetensors")), text(testkit::demo()));
    let draw = |name: &str, more: &[&str]| {
        let path = dir.path().join(name);
        let usual = ["generate", "a red heart", "-m", &demo, "-o", &text(&path), "--steps", "1"].map(str::to_owned);
        succeed(usual.iter().map(String::as_str).chain(more.iter().copied()));
        path
    };
    let (plain, with) = (draw("plain.png", &[]), draw("with.png", &["--lora", &lora]));
    let none = draw("none.png", &["--lora", &format!("{lora}:0")]);
    let pixels = |path: &Path| RgbImage::read(Cursor::new(fs::read(path).unwrap())).unwrap();
    assert!(pixels(&plain) == pixels(&none) && pixels(&plain) != pixels(&with));
    let png = fs::read(&with).unwrap();
    assert!(String::from_utf8_lossy(&png).contains("style:1"), "the settings do not name the LoRA");
    let packages = dir.path().join("packages");
    fs::create_dir_all(packages.join("x_unet.mlpackage")).unwrap();
    let out = text(dir.path().join("x.png"));
    let message = fail(["generate", "cat", "-m", &text(&packages), "-o", &out, "--lora", &lora]);
    assert!(message.contains("--lora") && message.contains("holds packages"), "{message}");
}

#[test]
fn what_does_not_apply_is_named_and_left_out_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (path, demo) = (dir.path().join("stray.safetensors"), text(testkit::demo()));
    let mut with_stray = tensors();
    with_stray.insert("lora_unet_no_such_module.lora_up.weight".to_owned(), f32s(&[4, 2], 0.0));
    made::write(&path, &with_stray);
    let (out, lora) = (text(dir.path().join("out")), text(&path));
    let usual = ["convert", &demo, "-o", &out, "--component", "text-encoder", "--lora", &lora];
    let message = fail(usual);
    assert!(message.contains("lora_unet_no_such_module.lora_up.weight"), "{message}");
    assert!(!Path::new(&out).exists());
    let ran = run(usual.into_iter().chain(["--allow-unapplied"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("lora_unet_no_such_module.lora_up.weight"), "{}", ran.stderr);
    let facts = json(["inspect", &lora, "--against", &demo]);
    assert_eq!((&facts["kinds"]["LoRA"], &facts["ranks"]), (&3.into(), &serde_json::json!([2])));
    assert_eq!(facts["fit"]["n_changed"], 2);
    assert_eq!(facts["fit"]["unapplied"], serde_json::json!(["lora_unet_no_such_module.lora_up.weight"]));
    assert!(succeed(["inspect", &lora, "--against", &demo]).contains("1 tensor fit nothing there"));
}
