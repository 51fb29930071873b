//! Models in one file, and networks alone, from the command line: the same packages and pictures as from folders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::made::{self, Made, Owned, UNET, VAE};
use common::{fail, files, json, run, succeed, text};
use safetensors::Dtype;
use sd_checkpoint::Checkpoint;
use testkit::demo;

const TEXT: &str = "text_encoder/model.safetensors";

/// Golden data of single files, and the configurations that go with the model of Stable Diffusion 1.5 among them.
fn golden() -> Option<(PathBuf, String)> {
    let golden = testkit::golden()?.join("single-file");
    let config = text(golden.join("config/sd15"));
    Some((golden, config))
}

/// The folder of diffusers that the golden file would have been.
fn folder(golden: &Path, root: &Path) -> String {
    let file = Checkpoint::open(golden.join("sd15.safetensors")).unwrap();
    made::copy(&golden.join("config/sd15"), root);
    for (name, bytes) in files(&golden.parent().unwrap().join("checkpoints/tiny-sd15/tokenizer")) {
        if name.starts_with("vocab") || name.starts_with("merges") {
            made::put(&root.join("tokenizer").join(name), bytes);
        }
    }
    for role in file.roles() {
        let weights = file.weights(role).unwrap();
        let own =
            |weight: &sd_checkpoint::Weight| (Dtype::F16, weight.shape(), weight.constant().read().bytes().to_vec());
        let tensors = weights.iter().map(|(key, weight)| (key.to_owned(), own(weight))).collect();
        made::write(&root.join(role.spec().folder).join("model.safetensors"), &tensors);
    }
    text(root)
}

/// Converts to a folder, whose files are returned.
#[track_caller]
fn convert(source: &str, to: &Path, more: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let args = ["convert", source, "-o", &text(to), "--model-version", "m"];
    succeed(args.iter().chain(more));
    files(to)
}

#[track_caller]
fn draw(model: &str, to: &Path, more: &[&str]) -> Vec<u8> {
    let args = ["generate", "a red cube", "-m", model, "-o", &text(to), "--steps", "2", "--seed", "7"];
    succeed(args.iter().chain(more));
    fs::read(to).unwrap()
}

#[test]
fn a_model_in_one_file_gives_the_packages_and_the_picture_of_its_folder() {
    let Some((golden, config)) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&golden, &dir.path().join("folder"));
    let expected = convert(&folder, &dir.path().join("a"), &[]);
    assert!(expected.len() > 12, "{:?}", expected.keys());
    for name in ["sd15.safetensors", "sd15_legacy.ckpt"] {
        let found = convert(&text(golden.join(name)), &dir.path().join(name), &["--config", &config]);
        // Of the vocabulary, which is made for a file, every entry, but not how it is laid out.
        // The settings name the files that a model came from, which are others.
        let value = |bytes: &[u8]| {
            let mut value = serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            value.as_object_mut().unwrap().remove("sources");
            value
        };
        let is_laid_out = |key: &str| ["vocab.json", "smelt.json"].contains(&key);
        let is_same = |key: &str, a: &[u8], b: &[u8]| a == b || (is_laid_out(key) && value(a) == value(b));
        let differ =
            expected.iter().find(|(key, bytes)| !found.get(*key).is_some_and(|found| is_same(key, found, bytes)));
        assert_eq!(differ.map(|(key, _)| key), None, "{name}");
        assert_eq!(found.len(), expected.len(), "{name}: {:?}", found.keys());
    }
    let file = text(golden.join("sd15.safetensors"));
    let picture = draw(&folder, &dir.path().join("model.png"), &[]);
    let drawn = draw(&file, &dir.path().join("file.png"), &["--config", &config]);
    let read = |path: &str| common::read_picture(dir.path().join(path));
    assert!(read("model.png") == read("file.png"), "{} and {} bytes", picture.len(), drawn.len());
    draw(&file, &dir.path().join("v.png"), &["--config", &config, "--prediction", "v"]);
    assert!(read("file.png") != read("v.png"), "--prediction decides");
    let package = text(dir.path().join("a/Stable_Diffusion_version_m_unet.mlpackage"));
    let said = succeed(["verify", &package, "--against", &file, "--config", &config, "--rounding", "f32"]);
    assert!(said.contains("agrees with"), "{said}");
}

#[test]
fn a_file_is_described_as_data() {
    let Some((golden, config)) = golden() else { return };
    let facts = json(["inspect", &text(golden.join("sd15_ema.ckpt")), "--config", &config]);
    assert_eq!((&facts["kind"], &facts["is_file"]), (&"Stable Diffusion 1.x".into(), &true.into()));
    assert_eq!((&facts["prediction"], &facts["averages"]), (&"epsilon".into(), &"left_aside".into()));
    let prefixes: Vec<&str> =
        facts["components"].as_array().unwrap().iter().filter_map(|c| c["prefix"].as_str()).collect();
    assert_eq!(prefixes, ["cond_stage_model.transformer.", "model.diffusion_model.", "first_stage_model."]);
    let facts = json(["inspect", &text(demo().join(UNET))]);
    assert_eq!(facts["kind"], "Stable Diffusion 1.x, the unet alone");
    assert_eq!(facts["components"][0]["component"], "unet");
    let facts = json(["inspect", &text(demo().join(TEXT))]);
    assert_eq!(facts["kind"], "Stable Diffusion 1.x, the text encoder alone");
    assert_eq!((facts["missing"].as_array().unwrap().len(), &facts["prediction"]), (0, &serde_json::Value::Null));
}

#[test]
fn a_network_alone_under_diffusers_names_is_that_package_of_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, config) = (text(demo()), text(demo()));
    for (file, name, component, n) in [
        (UNET, "one.safetensors", "unet", 1),
        (TEXT, "clip_l.safetensors", "text-encoder", 1),
        (VAE, "v.safetensors", "vae", 2),
    ] {
        let own = dir.path().join(name);
        fs::copy(demo().join(file), &own).unwrap();
        let components = if n == 2 { "vae-decoder,vae-encoder" } else { component };
        let expected = convert(&model, &dir.path().join(format!("{component}-a")), &["--component", components]);
        let found = convert(&text(&own), &dir.path().join(format!("{component}-b")), &["--config", &config]);
        let packages = |all: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
            all.iter().filter(|(key, _)| key.contains(".mlpackage/")).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        assert!(packages(&expected) == packages(&found), "{component}");
        let manifests = found.keys().filter(|key| key.ends_with("Manifest.json")).count();
        assert_eq!(manifests, n, "{component}: {:?}", found.keys());
    }
    // Nothing is drawn with it, and what is missing is said.
    let message = fail(["generate", "x", "-m", &text(dir.path().join("one.safetensors")), "-o", "x.png"]);
    assert!(message.contains("text-encoder") || message.contains("text encoder"), "{message}");
    // With the folder of one network's configuration too; and an autoencoder alone takes the place of a model's own.
    let unet = text(demo().join("unet"));
    let found = convert(&text(dir.path().join("one.safetensors")), &dir.path().join("c"), &["--config", &unet]);
    assert!(found.keys().any(|key| key.contains("_unet.mlpackage/")), "{:?}", found.keys());
    let own = draw(&model, &dir.path().join("x.png"), &[]);
    let vae = text(dir.path().join("v.safetensors"));
    assert!(own.len() > 100);
    draw(&model, &dir.path().join("y.png"), &["--vae", &vae]);
    let read = |name: &str| common::read_picture(dir.path().join(name));
    assert!(read("x.png") == read("y.png"), "--vae of the model's own");
}

#[test]
fn weights_in_eight_bits_with_scales_are_what_they_are_multiplied_with() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = made::read(&demo().join(UNET));
    let is_scaled = |key: &str| key.ends_with("attn1.to_q.weight");
    // Bit patterns of 1, -1, 2 and 448 of E4M3.
    const VALUES: [(u8, f32); 4] = [(0x38, 1.0), (0xb8, -1.0), (0x40, 2.0), (0x7e, 448.0)];
    let (mut scaled, mut plain): (BTreeMap<String, Owned>, BTreeMap<String, Owned>) =
        (BTreeMap::new(), BTreeMap::new());
    let scale = 0.0007_f32;
    for (key, (dtype, shape, bytes)) in tensors {
        if !is_scaled(&key) {
            scaled.insert(key.clone(), (dtype, shape.clone(), bytes.clone()));
            plain.insert(key, (dtype, shape, bytes));
            continue;
        }
        let n: usize = shape.iter().product();
        let bits = (0..n).map(|at| VALUES[at % 4].0).collect();
        let values = (0..n).flat_map(|at| (VALUES[at % 4].1 * scale).to_le_bytes()).collect();
        let module = key.strip_suffix(".weight").unwrap();
        scaled.insert(format!("{module}.scale_weight"), (Dtype::F32, vec![], scale.to_le_bytes().to_vec()));
        scaled.insert(format!("{module}.scale_input"), (Dtype::F32, vec![1], 3f32.to_le_bytes().to_vec()));
        scaled.insert(key.clone(), (Dtype::F8_E4M3, shape.clone(), bits));
        plain.insert(key, (Dtype::F32, shape, values));
    }
    scaled.insert("scaled_fp8".to_owned(), (Dtype::F8_E4M3, vec![2], vec![0, 0]));
    let config = text(demo());
    let package = |name: &str, tensors: &BTreeMap<String, Owned>| {
        let path = dir.path().join(name);
        made::write(&path, tensors);
        convert(&text(&path), &dir.path().join(format!("{name}-out")), &["--config", &config])
    };
    assert!(scaled.len() > plain.len());
    let (scaled, plain) = (package("scaled.safetensors", &scaled), package("plain.safetensors", &plain));
    let weights =
        |all: &BTreeMap<String, Vec<u8>>| all.iter().find(|(key, _)| key.ends_with("weight.bin")).unwrap().1.clone();
    assert!(weights(&scaled) == weights(&plain));
    let packed = Made::demo(dir.path().join("packed")).tensors(UNET, |tensors| {
        tensors.insert("conv_in.SCB".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    let message = fail(["convert", &text(packed.root.join(UNET)), "-o", &text(dir.path().join("no"))]);
    assert!(message.contains("quantized in eight-bit integers by bitsandbytes (conv_in.SCB)"), "{message}");
}

#[test]
fn damaged_files_are_refused_by_their_own_names_and_leave_nothing() {
    let Some((golden, config)) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    let of = |change: &dyn Fn(&mut BTreeMap<String, Owned>)| {
        let path = dir.path().join("changed.safetensors");
        let mut tensors = made::read(&golden.join("sd15.safetensors"));
        change(&mut tensors);
        made::write(&path, &tensors);
        let message = fail(["convert", &text(&path), "-o", &out, "--config", &config]);
        assert!(message.contains("changed.safetensors") && !Path::new(&out).exists(), "{message}");
        message
    };
    let key = "model.diffusion_model.input_blocks.1.0.in_layers.2.bias";
    let message = of(&|tensors| drop(tensors.insert(key.to_owned(), (Dtype::F16, vec![3], vec![0; 6]))));
    assert!(message.contains(&format!("{key} is [3], expected [32]")), "{message}");
    let message = of(&|tensors| drop(tensors.insert(key.to_owned(), (Dtype::F16, vec![0], vec![]))));
    assert!(message.contains(&format!("{key} is [0], expected [32]")), "{message}");
    let message = of(&|tensors| drop(tensors.remove(key)));
    assert!(message.contains("missing: ") && message.contains(key), "{message}");
    let unknown = "model.diffusion_model.input_blocks.1.0.bias";
    let message = of(&|tensors| drop(tensors.insert(unknown.to_owned(), (Dtype::F16, vec![1], vec![0; 2]))));
    assert!(message.contains("unused: ") && message.contains("input_blocks.1.0.bias"), "{message}");
    let diffusers = "model.diffusion_model.conv_in.weight";
    let message = of(&|tensors| drop(tensors.insert(diffusers.to_owned(), (Dtype::F16, vec![1], vec![0; 2]))));
    assert!(message.contains("it mixes layouts"), "{message}");
    let whole = fs::read(golden.join("sd15.safetensors")).unwrap();
    for n in [8, 1000, whole.len() / 2, whole.len() - 1] {
        let path = dir.path().join("cut.safetensors");
        fs::write(&path, &whole[..n]).unwrap();
        let ran = run(["convert", &text(&path), "-o", &out]);
        assert_eq!(ran.code, Some(1), "{n}: {}", ran.stderr);
        assert!(ran.stderr.contains("cut off") || ran.stderr.contains("damaged"), "{n}: {}", ran.stderr);
    }
}
