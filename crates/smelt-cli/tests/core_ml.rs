//! Core ML where it is not, and options that are its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{fail, run, succeed, text};
use mil::{FunctionBuilder, Opset, Type};
use mlpackage::{Description, Existing};

/// A package that gives back the larger of its input and zero.
fn package(dir: &Path) -> String {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(mil::DType::F32, &[2, 3]));
    let mut e = b.emitter();
    let y = e.op("relu", "y", [("x", x.into())]).unwrap();
    let ops = e.into_ops();
    let program = b.finish_program(ops, &[y]);
    let (path, valid) = (dir.join("a_unet.mlpackage"), mil::validate(&program).unwrap());
    mlpackage::write(&path, valid, &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    text(path)
}

#[cfg(not(target_vendor = "apple"))]
#[test]
fn elsewhere_every_command_says_that_core_ml_is_not_here_before_it_reads_anything() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let [picture, tensors] = ["a.png", "a.safetensors"].map(|name| text(dir.path().join(name)));
    for args in [
        &["generate", "cat", "-m", &text(testkit::demo()), "-o", &picture][..],
        &["generate", "cat", "-m", &text(testkit::demo()), "-o", &picture, "--device", "ne", "--fast-prediction"],
        &["run", &package, "--inputs", &tensors, "--outputs", &text(dir.path().join("b.safetensors"))],
        &["bench", &package],
        &["bench", &package, "--plan", "--device", "gpu"],
        &["inspect", &package, "--plan"],
        &["inspect", &package, "--plan", "--device", "cpu", "--json"],
        &["verify", &package, "--against", &package],
    ] {
        let error = fail(args.iter().chain(&["--engine", "coreml"]));
        assert_eq!(
            error,
            "error: --engine coreml: Core ML is part of macOS and iOS; on this system use the cpu engine, which runs the \
             same packages\n",
            "{args:?}"
        );
    }
    assert!(!Path::new(&picture).exists());
}

#[test]
fn options_of_core_ml_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    for (args, words) in [
        (&["bench", &package, "--device", "ne"][..], "--device ne is for --engine coreml"),
        (&["bench", &package, "--fast-prediction"], "--fast-prediction is for --engine coreml only"),
        (&["bench", &package, "--plan"], "bench --plan is for --engine coreml"),
        (&["inspect", &package, "--plan", "--device", "ne"], "--device ne is for --engine coreml"),
        (
            &["inspect", &package, "--plan", "--engine", "coreml", "--device", "metal"],
            "those of coreml are all, cpu, gpu, ne",
        ),
        (&["inspect", &package, "--plan", "--engine", "reference"], "--plan is of --engine cpu or coreml"),
        (&["inspect", &package, "--plan", "--json"], "the fast engine's plan is text"),
    ] {
        let error = fail(args);
        assert!(error.contains(words), "{args:?}: {error}");
    }
    assert!(succeed(["inspect", &package, "--plan"]).starts_with("model: "));
    let ran = run(["inspect", &package, "--engine", "coreml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--plan"), "{}", ran.stderr);
}
