//! Prompts of several windows with packages, which were made for one, against checkpoints that are converted for as many.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

use std::path::Path;

use smelt::{AttentionLayout, Conversion, Opened, PipelineOptions, Precision, Request, Role, Unwatched};

/// Least peak signal-to-noise ratio of latents from half precision, in dB.
const DECIBELS: f64 = 35.0;

const LAYOUTS: [(&str, AttentionLayout); 3] = [
    ("split-einsum", AttentionLayout::SplitEinsum),
    ("split-einsum-v2", AttentionLayout::SplitEinsumV2),
    ("original", AttentionLayout::Original),
];

/// A prompt of three windows, with weights, guided away from one of one window.
fn request() -> Request {
    Request {
        steps: 3,
        seed: 5,
        negative_prompt: Some("(blurry:1.3)".into()),
        ..Request::new(format!("a (red:1.4) fox, {} BREAK [snow:rain:1], old oak", "tall grass, ".repeat(30)))
    }
}

#[track_caller]
fn latents(opened: &Opened, options: &PipelineOptions, request: &Request) -> Vec<f32> {
    let options = PipelineOptions { safety_check: false, ..options.clone() };
    let drawing = opened.pipeline(&options).unwrap().draw(request, &mut Unwatched).unwrap();
    assert!(drawing.warnings.is_empty(), "{:?}", drawing.warnings);
    drawing.pictures[0].latents.to_f32_vec()
}

fn exact(checkpoint: &Path, request: &Request) -> Vec<f32> {
    let options = PipelineOptions { precision: Some(Precision::Float32), ..PipelineOptions::default() };
    latents(&smelt::open(checkpoint).unwrap(), &options, request)
}

#[test]
fn packages_of_every_layout_take_texts_of_several_windows() {
    let Some(golden) = testkit::golden() else { return };
    let checkpoint = golden.join("checkpoints/tiny-sd15");
    let expected = exact(&checkpoint, &request());
    let cut = Request { prompt: "a (red:1.4) fox".into(), ..request() };
    assert!(testkit::psnr(&expected, &exact(&checkpoint, &cut)) < DECIBELS, "the further windows count");
    let dir = tempfile::tempdir().unwrap();
    for (name, layout) in LAYOUTS {
        let packages = dir.path().join(name);
        let roles = vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder];
        let conversion = Conversion { roles, attention: Some(layout), ..Conversion::default() };
        smelt::open(&checkpoint).unwrap().convert(&packages, &conversion, &mut Unwatched).unwrap();
        for low_memory in [false, true] {
            let options = PipelineOptions { low_memory, ..PipelineOptions::default() };
            let decibels = testkit::psnr(&expected, &latents(&smelt::open(&packages).unwrap(), &options, &request()));
            println!("{name}: {decibels:.1} dB");
            assert!(decibels >= DECIBELS, "{name}: {decibels:.1} dB");
        }
    }
}

#[test]
fn apples_packages_take_texts_of_several_windows() {
    let Some(golden) = testkit::golden() else { return };
    let expected = exact(&golden.join("checkpoints/tiny-sd15"), &request());
    let made = golden.join("packages/tiny-sd15");
    for variant in ["original", "split_einsum", "q6"] {
        let dir = tempfile::tempdir().unwrap();
        for (from, name) in [("split_einsum", "text_encoder"), ("split_einsum", "vae_decoder"), (variant, "unet")] {
            let package = format!("Stable_Diffusion_version_tiny-sd15_{name}.mlpackage");
            copy(&made.join(from).join(&package), &dir.path().join(&package));
        }
        let tokenizer = Some(golden.join("checkpoints/tiny-sd15/tokenizer"));
        let options = PipelineOptions { tokenizer, ..PipelineOptions::default() };
        let decibels = testkit::psnr(&expected, &latents(&smelt::open(dir.path()).unwrap(), &options, &request()));
        println!("{variant}: {decibels:.1} dB");
        // Six bits are another model, and still the same picture.
        let least = if variant == "q6" { 20.0 } else { DECIBELS };
        assert!(decibels >= least, "{variant}: {decibels:.1} dB");
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn xl_takes_texts_of_several_windows() {
    let Some(golden) = testkit::golden() else { return };
    let checkpoint = golden.join("checkpoints/tiny-sdxl");
    let expected = exact(&checkpoint, &request());
    let dir = tempfile::tempdir().unwrap();
    let roles = vec![Role::TextEncoder, Role::TextEncoder2, Role::UNet, Role::VaeDecoder];
    let conversion = Conversion { roles, ..Conversion::default() };
    smelt::open(&checkpoint).unwrap().convert(dir.path(), &conversion, &mut Unwatched).unwrap();
    let found = latents(&smelt::open(dir.path()).unwrap(), &PipelineOptions::default(), &request());
    let decibels = testkit::psnr(&expected, &found);
    println!("XL: {decibels:.1} dB");
    assert!(decibels >= DECIBELS, "{decibels:.1} dB");
}
