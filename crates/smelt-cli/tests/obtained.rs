//! However people obtained a checkpoint: variants, shards, the Hub's cache, wrapped keys, other element types.
//! What is written is, byte for byte, what the plain checkpoint gives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::made::{self, Made, Owned, UNET};
use common::{fail, files, json, names, run, succeed, text};
use safetensors::Dtype;
use serde_json::json;

const STEM: &str = "diffusion_pytorch_model";

/// What the conversion of a component writes, and what it says on the way.
fn converted(checkpoint: &Path, more: &[&str]) -> (BTreeMap<String, Vec<u8>>, String) {
    let out = tempfile::tempdir().unwrap();
    let output = text(out.path().join("x"));
    let checkpoint = text(checkpoint);
    let fixed = ["convert", &checkpoint, "-o", &output, "--component", "unet", "--model-version", "m"];
    let ran = run(fixed.iter().chain(more));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut written = files(Path::new(&output));
    // It names the checkpoint's files, which are others here.
    let settings = written.get_mut("smelt.json").unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(settings).unwrap();
    assert_ne!(json["sources"].take(), serde_json::Value::Null);
    *settings = json.to_string().into_bytes();
    (written, ran.stderr)
}

/// A changed copy of the demo model converts to what the demo model converts to.
#[track_caller]
fn same(change: impl FnOnce(Made) -> Made, more: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let made = change(Made::demo(dir.path().join("m")));
    let (bytes, said) = converted(&made.root, more);
    assert!(bytes == converted(&testkit::demo(), &[]).0, "other bytes; {said}");
    said
}

fn renamed(made: Made, to: &str) -> Made {
    fs::rename(made.root.join(UNET), made.root.join("unet").join(to)).unwrap();
    made
}

#[test]
fn shards_and_variants_in_every_spelling_are_read() {
    let half = "diffusion_pytorch_model.fp16.safetensors";
    for (names, index) in [
        (
            [
                "diffusion_pytorch_model-00001-of-00002.safetensors",
                "diffusion_pytorch_model-00002-of-00002.safetensors",
            ],
            "",
        ),
        (
            [
                "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
                "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
            ],
            ".index.fp16",
        ),
        (
            [
                "diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
                "diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
            ],
            ".fp16.index",
        ),
    ] {
        let index = format!("{STEM}.safetensors{}.json", if index.is_empty() { ".index" } else { index });
        let said = same(|made| made.shards(UNET, names, &index), &[]);
        assert_eq!(said.contains("only weights of the variant fp16"), index.contains("fp16"), "{said}");
    }
    assert!(same(|made| renamed(made, half), &[]).contains("fp16"));
    let named = same(|made| renamed(made, "diffusion_pytorch_model.my_ema.safetensors"), &["--variant", "my_ema"]);
    assert!(!named.contains("variant"), "{named}");
}

#[test]
fn what_wrappers_put_before_every_key_is_understood() {
    let wrap = |prefix: &'static str| {
        move |made: Made| {
            made.tensors(UNET, |tensors| {
                *tensors = std::mem::take(tensors).into_iter().map(|(key, t)| (format!("{prefix}{key}"), t)).collect();
            })
        }
    };
    same(wrap("_orig_mod."), &[]);
    same(wrap("module."), &[]);
    same(wrap("module._orig_mod."), &[]);
}

#[test]
fn weights_in_double_precision_are_read() {
    let widen = |(dtype, shape, bytes): &Owned| -> Owned {
        let values: Vec<f64> = match dtype {
            Dtype::F16 => {
                let half =
                    host_tensor::HostTensor::new(host_tensor::DType::F16, shape.clone(), bytes.clone().into()).unwrap();
                half.to_f32_vec().into_iter().map(f64::from).collect()
            }
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
            }
            other => panic!("{other:?}"),
        };
        (Dtype::F64, shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    };
    same(|made| made.tensors(UNET, |tensors| tensors.values_mut().for_each(|t| *t = widen(t))), &[]);
}

#[test]
fn byte_order_marks_before_json_are_left_out() {
    let mark = |made: Made| {
        for file in ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json", "vae/config.json"] {
            let path = made.root.join(file);
            fs::write(&path, [b"\xef\xbb\xbf", &fs::read(&path).unwrap()[..]].concat()).unwrap();
        }
        made
    };
    let dir = tempfile::tempdir().unwrap();
    let made = mark(Made::demo(dir.path().join("m")));
    let (bytes, _) = converted(&made.root, &[]);
    let packages = |all: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        all.into_iter().filter(|(name, _)| name.contains(".mlpackage")).collect()
    };
    assert!(packages(bytes) == packages(converted(&testkit::demo(), &[]).0));
    let picture = text(dir.path().join("a.png"));
    succeed(["generate", "a red heart", "-m", &text(&made.root), "-o", &picture, "--steps", "1"]);
}

#[cfg(unix)]
#[test]
fn the_hub_s_cache_is_read_as_it_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let hash = "39593d5650112b4cc580433f6b0435385882d819";
    let repository = dir.path().join("models--someone--emoji-model");
    let snapshot = repository.join("snapshots").join(hash);
    for (i, (name, bytes)) in files(&testkit::demo()).into_iter().enumerate() {
        let blob = repository.join(format!("blobs/{i:040x}"));
        made::put(&blob, bytes);
        let link = snapshot.join(&name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&blob, link).unwrap();
    }
    made::put(&repository.join("refs/main"), hash);
    std::os::unix::fs::symlink(&snapshot, dir.path().join("emoji")).unwrap();
    for place in [repository.clone(), snapshot, dir.path().join("emoji")] {
        let out = dir.path().join("out");
        succeed(["convert", &text(&place), "-o", &text(&out), "--component", "unet"]);
        let packages: Vec<String> = names(&out).into_iter().filter(|n| n.ends_with(".mlpackage")).collect();
        assert_eq!(packages, ["Stable_Diffusion_version_someone_emoji-model_unet.mlpackage"]);
        fs::remove_dir_all(out).unwrap();
    }
    let picture = text(dir.path().join("a.png"));
    let summary = json(["generate", "a red heart", "-m", &text(&repository), "-o", &picture, "--steps", "1"]);
    assert_eq!(summary["model"], "someone/emoji-model");
}

#[test]
fn components_that_the_index_leaves_out_are_neither_converted_nor_run() {
    let dir = tempfile::tempdir().unwrap();
    let made = Made::demo(dir.path().join("m"))
        .file("safety_checker/config.json", "{\"broken\": true")
        .json("model_index.json", |index| index["safety_checker"] = json!([null, null]));
    let out = dir.path().join("out");
    let summary = json(["convert", &text(&made.root), "-o", &text(&out)]);
    assert_eq!(summary["skipped"], json!(["safety-checker"]));
    let picture = text(dir.path().join("a.png"));
    let summary = json(["generate", "a red heart", "-m", &text(&made.root), "-o", &picture, "--steps", "1"]);
    assert!(summary["pictures"][0]["flagged"].is_null());
    assert!(summary["warnings"].is_array());
    let asked = fail(["convert", &text(&made.root), "-o", &text(&out), "--component", "safety-checker", "--force"]);
    assert!(asked.contains("model_index.json leaves it out"), "{asked}");
}

#[test]
fn a_network_without_middle_block_is_converted_and_drawn_with() {
    let dir = tempfile::tempdir().unwrap();
    let made = Made::demo(dir.path().join("tiny-sd"))
        .json("unet/config.json", |config| config["mid_block_type"] = serde_json::Value::Null)
        .tensors(UNET, |tensors| tensors.retain(|key, _| !key.starts_with("mid_block.")));
    let out = text(dir.path().join("out"));
    succeed(["convert", &text(&made.root), "-o", &out]);
    let (a, b) = (dir.path().join("a.png"), dir.path().join("b.png"));
    for (model, picture) in [(text(&made.root), &a), (out, &b)] {
        succeed(["generate", "a red heart", "-m", &model, "-o", &text(picture), "--steps", "2"]);
    }
    assert!(common::read_picture(&a) == common::read_picture(&b));
}

#[test]
fn sizes_of_early_checkpoints_are_those_that_they_were_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let made = Made::demo(dir.path().join("early")).json("unet/config.json", |config| {
        config["sample_size"] = 32.into();
        config["_diffusers_version"] = "0.6.0".into();
    });
    let out = dir.path().join("out");
    let ran = run(["convert", &text(&made.root), "-o", &text(&out), "--component", "unet"]);
    assert!(ran.stderr.contains("sample_size 32") && ran.stderr.contains("64x64"), "{}", ran.stderr);
    let package = text(out.join("Stable_Diffusion_version_early_unet.mlpackage"));
    let facts = json(["inspect", &package]);
    assert_eq!(facts["model"]["functions"][0]["inputs"][0]["type"], "fp16 [2, 4, 64, 64]");
}

#[test]
fn pictures_have_the_size_that_was_asked_for_in_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let demo = text(testkit::demo());
    let draw_with = |model: &str, name: &str, more: &[&str]| {
        let picture = dir.path().join(name);
        let path = text(&picture);
        let fixed = ["generate", "a red heart", "-o", &path, "--steps", "1", "-m", model];
        succeed(fixed.iter().chain(more));
        let image = common::read_picture(&picture);
        (image.width(), image.height())
    };
    let draw = |name: &str, more: &[&str]| draw_with(&demo, name, more);
    assert_eq!(draw("a.png", &["--size", "64x96"]), (64, 96));
    assert_eq!(draw("b.png", &["--width", "64"]), (64, 128));
    assert_eq!(draw("c.png", &["--width", "96", "--height", "64"]), (96, 64));
    assert_eq!(draw("d.png", &["--latent-size", "8x12"]), (96, 64));
    assert!(common::read_picture(dir.path().join("c.png")) == common::read_picture(dir.path().join("d.png")));
    let out = text(dir.path().join("out"));
    succeed(["convert", &demo, "-o", &out, "--size", "128x128,64x96", "--target", "macOS15"]);
    assert_eq!(draw_with(&out, "e.png", &["--size", "64x96"]), (64, 96));
    let other = fail(["generate", "x", "-m", &out, "-o", &text(dir.path().join("f.png")), "--size", "96x64"]);
    assert!(other.contains("96 wide, 64 high") && other.contains("--size 128x128,96x64"), "{other}");
}

#[test]
fn random_seeds_are_told_and_draw_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(dir.path().join(name));
    let draw = |name: &str, seed: &str| {
        json(["generate", "-a red heart", "-o", &path(name), "--steps", "1", "--seed", seed, "--negative-prompt", "-b"])
    };
    let (first, other) = (draw("a.png", "random"), draw("b.png", "-1"));
    assert_ne!(first["seed"], other["seed"]);
    draw("c.png", &first["seed"].to_string());
    assert!(common::read_picture(dir.path().join("a.png")) == common::read_picture(dir.path().join("c.png")));
}

#[test]
fn more_threads_than_the_machine_has_are_capped_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(["generate", "cat", "-o", &text(dir.path().join("a.png")), "--steps", "1", "--threads", "1000"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("--threads 1000 is more than this machine runs at once"), "{}", ran.stderr);
}
