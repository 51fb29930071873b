//! How near compressed UNets come to PyTorch, beside those that Apple's tools compressed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

mod common;

use std::path::Path;

use common::{names, succeed, text};
use testkit::{golden, load_safetensors, psnr};

/// References of one latent size: late and early time step.
const REFERENCES: [&str; 2] = ["unet", "unet_t1"];

/// The PSNR of a package's prediction for each reference.
fn reached(golden: &Path, package: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir().unwrap();
    let one = |name: &&str| {
        let reference = golden.join("refs/tiny-sd15").join(format!("{name}.safetensors"));
        let outputs = text(dir.path().join("out.safetensors"));
        succeed(["run", &text(package), "--inputs", &text(&reference), "--outputs", &outputs, "--engine", "reference"]);
        let (expected, got) = (load_safetensors(&reference), load_safetensors(&outputs));
        psnr(&expected["out.noise_pred"].to_f32_vec(), &got["noise_pred"].to_f32_vec())
    };
    REFERENCES.iter().map(one).collect()
}

fn unet_in(dir: &Path) -> std::path::PathBuf {
    let name = names(dir).into_iter().find(|n| n.ends_with("_unet.mlpackage")).unwrap();
    dir.join(name)
}

#[test]
fn compressed_unets_are_as_near_to_pytorch_as_apples() {
    let Some(golden) = golden() else { return };
    let checkpoint = text(golden.join("checkpoints/tiny-sd15"));
    let mut means = Vec::new();
    for bits in ["6", "4", "2"] {
        let dir = tempfile::tempdir().unwrap();
        let output = text(dir.path());
        succeed(["convert", &checkpoint, "-o", &output, "--component", "unet", "--quantize-nbits", bits]);
        let ours = reached(&golden, &unet_in(dir.path()));
        let theirs = reached(&golden, &unet_in(&golden.join("packages/tiny-sd15").join(format!("q{bits}"))));
        let mut gains = Vec::new();
        for ((reference, ours), theirs) in REFERENCES.iter().zip(ours).zip(theirs) {
            println!("{bits} bits, {reference}: {ours:.2} dB, Apple's {theirs:.2} dB");
            assert!(ours > theirs - 0.5, "{bits} bits, {reference}: {ours} against {theirs} dB");
            gains.push(ours - theirs);
        }
        means.push(gains.iter().sum::<f64>() / gains.len() as f64);
        println!("{bits} bits: {:+.3} dB on the mean", means[means.len() - 1]);
    }
    // At 2 bits nothing of the prediction is left to speak of (12 dB), and chance decides: Apple's palette of the last
    // convolution (2304 weights) has the larger squared error, and alone gives its UNet 0.2 dB on this checkpoint.
    assert!(means[0] > 0.0 && means[1] > 0.0 && means[2] > -0.25, "{means:?}");
}
