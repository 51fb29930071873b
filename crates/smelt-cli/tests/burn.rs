//! `--engine burn`: what is refused, in words, and with the feature `burn` what is drawn.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{fail, run, text};
use testkit::demo;

/// Arguments that draw to `output` with the burn engine.
fn generate(model: &Path, output: &Path, more: &[&str]) -> Vec<String> {
    let (model, output) = (text(model), text(output));
    let args = ["generate", "a red heart", "-m", &model, "-o", &output, "--steps", "1"];
    args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
}

/// A directory that holds a package by its name, and a place for a picture.
fn with_package() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("x_unet.mlpackage")).unwrap();
    let picture = dir.path().join("x.png");
    (dir, picture)
}

#[test]
fn a_device_is_for_the_burn_engine_only() {
    let (_dir, picture) = with_package();
    let error = fail(generate(&demo(), &picture, &["--device", "cuda"]));
    assert_eq!(error, "error: --device cuda is for --engine burn\n");
}

#[test]
fn commands_that_run_packages_refuse_the_burn_engine() {
    let (dir, picture) = with_package();
    let outputs = text(dir.path().join("out.safetensors"));
    let (demo, picture) = (text(demo()), text(picture));
    let package = text(dir.path().join("x_unet.mlpackage"));
    for args in [
        vec!["run", &package, "--inputs", &picture, "--outputs", &outputs],
        vec!["verify", &package, "--against", &demo],
        vec!["bench", &package],
    ] {
        let error = fail(args.iter().chain(&["--engine", "burn"]));
        assert!(error.contains("it is for smelt generate -m CHECKPOINT"), "{args:?}: {error}");
    }
}

#[cfg(not(feature = "burn"))]
#[test]
fn a_build_without_burn_says_how_to_get_it() {
    let (dir, picture) = with_package();
    for model in [&demo(), dir.path()] {
        let error = fail(generate(model, &picture, &["--engine", "burn"]));
        assert!(error.contains("cargo run --release --features burn -- generate"), "{error}");
    }
    assert!(!picture.exists());
}

#[cfg(feature = "burn")]
#[test]
fn packages_hold_no_networks() {
    let (dir, picture) = with_package();
    let error = fail(generate(dir.path(), &picture, &["--engine", "burn"]));
    assert!(error.contains("holds packages") && error.contains("give the checkpoint directory with -m"), "{error}");
}

#[cfg(all(feature = "burn", not(feature = "burn-cuda")))]
#[test]
fn a_device_that_was_not_built_in_is_named_with_its_feature() {
    let (_dir, picture) = with_package();
    let error = fail(generate(&demo(), &picture, &["--engine", "burn", "--device", "cuda"]));
    assert!(error.contains("--features burn-cuda"), "{error}");
}

#[cfg(feature = "burn")]
#[test]
fn a_checkpoint_is_drawn_without_conversion() {
    let (_dir, picture) = with_package();
    let summary = common::json(generate(&demo(), &picture, &["--engine", "burn", "--threads", "2"]));
    assert_eq!(summary["pictures"][0]["width"], 128);
    assert!(picture.is_file());
}

#[test]
fn unknown_devices_are_listed() {
    let (_dir, picture) = with_package();
    let ran = run(generate(&demo(), &picture, &["--engine", "burn", "--device", "tpu"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("flex, cuda, metal, rocm, vulkan, webgpu, wgpu"), "{}", ran.stderr);
}
