//! `smelt quantize` as a user runs it: the model in the box with activations of 8 bits, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{fail, files, json, read_picture, succeed, text};
use sd_runtime::image::Difference;
use serde_json::Value;
use testkit::demo;

const UNET: &str = "Stable_Diffusion_version_sd-emoji_unet.mlpackage";

/// Packages of the demo, and calibration data of it.
static THERE: LazyLock<(PathBuf, String)> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quantize");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    let packages = dir.join("packages");
    succeed(["convert", &text(demo()), "-o", &text(&packages), "--component", "text-encoder,unet,vae-decoder"]);
    let data = text(dir.join("demo.safetensors"));
    succeed(["calibrate", "-m", &text(&packages), "-o", &data, "--steps", "4", "--guidance", "4", "--samples", "16"]);
    (packages, data)
});

fn unet() -> String {
    text(THERE.0.join(UNET))
}

/// A folder that draws with another UNet, made with these options.
fn quantized(dir: &Path, more: &[&str]) -> (String, Value) {
    let output = dir.join(UNET);
    let fixed = ["quantize", &unet(), "-o", &text(&output), "--calibration", &THERE.1];
    let report = json(fixed.iter().chain(more));
    for (name, bytes) in files(&THERE.0) {
        let to = dir.join(&name);
        if !name.starts_with(UNET) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
    }
    (text(dir), report)
}

fn draw(model: &str, prompt: &str, seed: &str, to: &Path) -> sd_runtime::image::RgbImage {
    let options = ["--steps", "6", "--guidance", "4", "--scheduler", "ddim", "--seed", seed];
    succeed(["generate", prompt, "-m", model, "-o", &text(to)].iter().chain(&options));
    read_picture(to)
}

#[test]
fn pictures_of_the_demo_keep_30_db() {
    let dir = tempfile::tempdir().unwrap();
    let (small, report) = quantized(dir.path(), &["--conv-psnr", "0", "--attn-psnr", "0"]);
    assert!(report["share"].as_f64() > Some(0.8), "{report}");
    assert!(report["values"].as_u64() > Some(50), "{report}");
    assert!(report["bytes"].as_f64() < report["bytes_before"].as_f64().map(|n| n * 0.6), "{report}");
    let plain = text(&THERE.0);
    let pictures = [("red heart", "3"), ("rocket", "4"), ("smiling face with sunglasses", "5")];
    let psnr = pictures.map(|(prompt, seed)| {
        let draw = |model: &str, name: &str| draw(model, prompt, seed, &dir.path().join(format!("{name}-{seed}.png")));
        Difference::between(&draw(&plain, "plain"), &draw(&small, "small")).unwrap().psnr_db
    });
    assert!(psnr.iter().sum::<f64>() / 3.0 > 30.0, "{psnr:?}");
}

#[test]
fn a_floor_is_kept_and_a_share_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let [floor, share] = ["floor", "share"].map(|name| dir.path().join(name));
    [&floor, &share].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let (_, report) = quantized(&floor, &["--psnr", "44", "--measure", "2"]);
    assert!(report["psnr_db"].as_f64() >= Some(44.0), "{report}");
    let measured = report["layers"].as_array().unwrap().iter().filter(|layer| layer["psnr_db"].is_number()).count();
    assert_eq!(measured, report["layers"].as_array().unwrap().len());
    let (_, report) = quantized(&share, &["--share", "0.5", "--measure", "2"]);
    assert!((0.5..0.7).contains(&report["share"].as_f64().unwrap()), "{report}");
    // Whatever runs it computes the same.
    let inputs = smelt::tensor_file::read(Path::new(&THERE.1)).unwrap();
    let two = inputs.into_iter().map(|(name, tensor)| {
        let shape = [&[2], &tensor.shape()[1..]].concat();
        let bytes = tensor.bytes().slice(0..tensor.bytes().len() / tensor.shape()[0] * 2);
        (name, smelt::HostTensor::new(tensor.dtype(), shape, bytes).unwrap())
    });
    let [given, fast, plain] = ["in", "fast", "plain"].map(|name| dir.path().join(name));
    let output = safe_files::Outputs::new().file("-o", &given).unwrap();
    smelt::tensor_file::write(&output, &two.collect(), &mut smelt::Unwatched).unwrap();
    for (engine, to) in [("cpu", &fast), ("reference", &plain)] {
        let package = text(share.join(UNET));
        succeed(["run", &package, "--inputs", &text(&given), "--outputs", &text(to), "--engine", engine]);
    }
    let [fast, plain] = [fast, plain].map(|path| testkit::load_safetensors(path)["noise_pred"].to_f32_vec());
    assert!(testkit::psnr(&plain, &fast) > 40.0, "{}", testkit::psnr(&plain, &fast));
}

#[test]
fn layouts_and_families_of_denoisers_and_apples_own_packages_are_quantized() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let convert = |name: &str, role: &str, more: &[&str]| {
        let folder = dir.path().join(format!("{name}{}", more.concat()));
        let checkpoint = text(golden.join("checkpoints").join(name));
        succeed(["convert", &checkpoint, "-o", &text(&folder), "--component", role].iter().chain(more));
        folder.join(format!("Stable_Diffusion_version_{name}_{role}.mlpackage"))
    };
    let apples = |name: &str| golden.join("packages/tiny-sd15").join(name);
    let packages = [
        apples("original/Stable_Diffusion_version_tiny-sd15_unet.mlpackage"),
        apples("split_einsum/Stable_Diffusion_version_tiny-sd15_unet.mlpackage"),
        apples("controlnet/ControlNet_tiny-controlnet.mlpackage"),
        convert("pico-sd15", "unet", &["--attention", "split-einsum-v2"]),
        convert("pico-sdxl", "unet", &[]),
        convert("pico-sd3", "mmdit", &[]),
    ];
    for (idx, package) in packages.iter().enumerate() {
        let output = text(dir.path().join(format!("{idx}.mlpackage")));
        let all = ["--conv-psnr", "0", "--attn-psnr", "0", "--measure", "2"];
        let report = json(["quantize", &text(package), "-o", &output].iter().chain(&all));
        let kinds = report["layers"].as_array().unwrap().iter().map(|layer| layer["operations"].as_str().unwrap());
        let kinds: std::collections::BTreeSet<_> = kinds.collect();
        assert!(kinds.len() > 1, "{}: {kinds:?}", package.display());
        assert!(report["share"].as_f64() > Some(0.9), "{}: {}", package.display(), report["share"]);
        // The weights are random, and lose more than those that were learned.
        assert!(report["psnr_db"].as_f64() > Some(30.0), "{}: {}", package.display(), report["psnr_db"]);
        assert!(report["warnings"][0].as_str().unwrap().contains("random inputs"));
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let output = text(dir.path().join("x.mlpackage"));
    let [packages, data] = [text(&THERE.0), THERE.1.clone()];
    let encoder = text(THERE.0.join("Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage"));
    let small = text(dir.path().join("small.mlpackage"));
    succeed(["compress", &unet(), "-o", &small, "--bits", "6"]);
    for (args, fact) in [
        (&["quantize", &packages, "-o", &output][..], "give the denoiser's package"),
        (&["quantize", &unet(), "-o", "x"], "must end with .mlpackage"),
        (&["quantize", &encoder, "-o", &output, "--calibration", &data], "the model takes no sample"),
        (
            &["quantize", &small, "-o", &output, "--calibration", &data, "--conv-psnr", "0", "--attn-psnr", "0"],
            "compressed already",
        ),
        (&["quantize", &unet(), "-o", &small], "is there already"),
    ] {
        let error = fail(args);
        assert!(error.contains(fact), "{error}");
        assert!(!Path::new(&output).exists());
    }
    let twice = text(dir.path().join("twice.mlpackage"));
    let all = ["--calibration", &data, "--conv-psnr", "0", "--attn-psnr", "0", "--measure", "1"];
    succeed(["quantize", &unet(), "-o", &twice].iter().chain(&all));
    let error = fail(["quantize", &twice, "-o", &output].iter().chain(&all));
    assert!(error.contains("already") || error.contains("compressed"), "{error}");
}
