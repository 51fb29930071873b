//! `compress` and what goes with it, on packages of the demo.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::{command, fail, json, names, succeed, text};
use mlpackage::Package;
use testkit::{Rng, demo};

/// The demo, converted once for all tests of this file.
static CONVERTED: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages-to-compress");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    succeed(["convert", &text(demo()), "-o", &text(&dir)]);
    dir
});

fn unet() -> String {
    text(CONVERTED.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage"))
}

/// Every file below a directory by its relative path.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (Path::new(&name).join(below), bytes)));
        } else {
            found.push((name.into(), std::fs::read(path).unwrap()));
        }
    }
    found
}

#[test]
fn a_directory_is_compressed_and_still_draws() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("six");
    let summary = json(["compress", &text(&*CONVERTED), "-o", &text(&output), "--bits", "6"]);
    assert_eq!(names(&output), names(&CONVERTED), "everything comes along");
    let packages = summary["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 2, "text encoder and UNet: {summary}");
    let bits = packages[1]["average_bits"].as_f64().unwrap();
    assert!((6.0..6.1).contains(&bits), "{bits}");
    // Metadata and interface stay.
    let [before, after] = [&*CONVERTED, &output].map(|dir| {
        Package::open(dir.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage")).unwrap().model().description.clone()
    });
    assert_eq!(before, after);

    let draw = |model: &Path, name: &str| {
        let picture = dir.path().join(name);
        let (model, output) = (text(model), text(&picture));
        succeed(["generate", "a red heart", "-m", &model, "-o", &output, "--steps", "2", "--guidance", "4"]);
        std::fs::read(picture).unwrap()
    };
    assert!(draw(&output, "6.png") != draw(&CONVERTED, "16.png"), "something was lost");
    let verified = json([
        "verify",
        &text(output.join(Path::new(&unet()).file_name().unwrap())),
        "--against",
        &unet(),
        "--min-psnr",
        "30",
    ]);
    assert_eq!(verified["passed"], true, "{verified}");

    // The same from the checkpoint at once.
    let at_once = dir.path().join("at-once");
    succeed(["convert", &text(demo()), "-o", &text(&at_once), "--quantize-nbits", "6"]);
    assert!(files(&at_once) == files(&output), "conversion and compression at once give other bytes");
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["1", "3"].map(|threads| {
        let output = dir.path().join(format!("{threads}.mlpackage"));
        let args = ["compress", &unet(), "-o", &text(&output), "--bits", "4"];
        assert!(command(args).env("RAYON_NUM_THREADS", threads).status().unwrap().success());
        files(&output)
    });
    assert!(made[0] == made[1], "the packages differ");
}

#[test]
fn every_weight_is_told_with_its_encoding_and_share() {
    let dir = tempfile::tempdir().unwrap();
    let output = text(dir.path().join("x.mlpackage"));
    succeed(["compress", &unet(), "-o", &output, "--bits", "4", "--skip", "conv_in_weight*"]);
    let facts = json(["inspect", "--weights", &output, "--sort", "size"]);
    let weights = facts["weights"].as_array().unwrap_or_else(|| panic!("{facts}"));
    let encoding = |name: &str| {
        let found = weights.iter().find(|w| w["name"].as_str().unwrap().starts_with(name)).unwrap();
        found["encoding"].as_str().unwrap().to_owned()
    };
    assert_eq!(encoding("conv_in_weight"), "fp16");
    assert_eq!(encoding("conv_out_weight"), "palette of 16");
    let share: f64 = weights.iter().map(|w| w["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-6, "{share}");
}

#[test]
fn weight_files_hold_nothing_that_the_program_does_not_read() {
    let dir = tempfile::tempdir().unwrap();
    for (i, how) in [&["--dtype", "int8"][..], &["--bits", "2"], &["--sparsity", "0.5"]].into_iter().enumerate() {
        let output = dir.path().join(format!("{i}.mlpackage"));
        let (package, path) = (unet(), text(&output));
        succeed(["compress", &package, "-o", &path].iter().chain(how));
        let package = Package::open(&output).unwrap();
        let function = package.model().program().unwrap().main().unwrap();
        let constants = function.values().iter().filter_map(|v| v.literal.as_ref()?.as_const()?.location.clone());
        let offsets: std::collections::BTreeSet<u64> = constants.map(|location| location.offset).collect();
        let n_blobs: u64 = package.weight_files().values().map(|file| u64::from(file.count())).sum();
        assert_eq!(n_blobs, offsets.len() as u64, "{how:?}");
    }
}

#[test]
fn reports_are_pages_pictures_and_data() {
    let dir = tempfile::tempdir().unwrap();
    let make = |extension: &str| {
        let (output, report) = (text(dir.path().join("x.mlpackage")), dir.path().join(format!("x.{extension}")));
        succeed(["compress", &unet(), "-o", &output, "--bits", "4", "--force", "--report", &text(&report)]);
        std::fs::read_to_string(report).unwrap()
    };
    let data: serde_json::Value = serde_json::from_str(&make("json")).unwrap();
    let weights = data["weights"].as_array().unwrap();
    assert!(weights.len() > 100);
    assert!(data["bytes"].as_u64() < data["bytes_before"].as_u64().map(|n| n / 3));
    // Four bits of a bell-shaped weight: 20.2 dB for a normal distribution (Max 1960).
    let typical = |w: &&serde_json::Value| w["snr_db"].as_f64().is_some_and(|db| (19.0..26.0).contains(&db));
    assert!(weights.iter().filter(typical).count() > 100, "{data}");
    let svg = make("svg");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", &svg[..80]);
    assert!(svg.contains("smaller"), "it says what was gained");
    assert!(make("html").contains(&svg[svg.len() - 200..].trim_end()[..100]), "the page shows the picture");
    let message = fail(["compress", &unet(), "-o", "x.mlpackage", "--bits", "4", "--report", "x.pdf"]);
    assert!(message.contains(".html, .svg or .json"), "{message}");
}

#[test]
fn what_cannot_be_done_is_refused_and_says_what_would_work() {
    let dir = tempfile::tempdir().unwrap();
    let six = text(dir.path().join("six.mlpackage"));
    succeed(["compress", &unet(), "-o", &six, "--bits", "6"]);
    let output = text(dir.path().join("out.mlpackage"));
    let recipe = |json: &str| {
        let path = dir.path().join("recipe.json");
        std::fs::write(&path, json).unwrap();
        text(path)
    };
    let refuse = |package: &str, args: &[&str], facts: &[&str]| {
        let fixed = ["compress", package, "-o", &output];
        let message = fail(fixed.iter().chain(args));
        for fact in facts {
            assert!(message.contains(fact), "{fact} is not in: {message}");
        }
        assert!(!Path::new(&output).exists());
    };
    refuse(&six, &["--bits", "4"], &["compressed already", "--recompress"]);
    refuse(&unet(), &["--bits", "3"], &["CoreML8", "--target macOS15", "1, 2, 4, 6 or 8 bits"]);
    refuse(&unet(), &["--bits", "5"], &["1, 2, 3, 4, 6 or 8"]);
    refuse(&unet(), &["--dtype", "int4"], &["CoreML8", "--target macOS15"]);
    refuse(&unet(), &["--bits", "4", "--group-size", "5", "--target", "macOS15"], &["do not divide", "16, 32, 64"]);
    refuse(&unet(), &["--bits", "4", "--only", "conv_inn_*"], &["--only", "conv_in_weight"]);
    let unknown = recipe(r#"{"down_blocks.0.attentions.0.proj_inn": 4}"#);
    refuse(
        &unet(),
        &["--config", &unknown],
        &["proj_inn", "near matches", "down_blocks_0_attentions_0_proj_in_weight"],
    );
    refuse(&unet(), &["--bits", "4", "--dtype", "int8"], &["--bits is for palettes"]);
    refuse(&unet(), &["--bits", "4", "--only", "gather"], &["gather"]);
    refuse(&unet(), &[], &["--bits N"]);

    succeed(["compress", &six, "-o", &output, "--bits", "4", "--recompress"]);
    let facts = json(["inspect", "--weights", &output]);
    assert!(facts.to_string().contains("palette of 16") && !facts.to_string().contains("palette of 64"));
    let there = fail(["compress", &unet(), "-o", &output, "--bits", "4"]);
    assert!(there.contains("--force"), "{there}");
}

#[test]
fn a_recipe_gives_each_layer_its_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipes.json");
    let recipes =
        r#"{"recipes": {"small": {"conv_in": 8, "mid_block.attentions.0.proj_in": 2, "conv_out": 16}, "other": {}}}"#;
    std::fs::write(&path, recipes).unwrap();
    let output = text(dir.path().join("x.mlpackage"));
    let args = ["compress", &unet(), "-o", &output, "--config", &text(&path), "--recipe", "small"];
    assert_eq!(json(args)["packages"][0]["n_compressed"], 2);
    let facts = json(["inspect", "--weights", &output]);
    let weights = facts["weights"].as_array().unwrap();
    let encoding = |name: &str| {
        weights.iter().find(|w| w["name"].as_str().unwrap().starts_with(name)).map(|w| w["encoding"].clone()).unwrap()
    };
    assert_eq!(encoding("conv_in_weight"), "palette of 256");
    assert_eq!(encoding("mid_block_attentions_0_proj_in_weight"), "palette of 4");
    assert_eq!(encoding("conv_out_weight"), "fp16");
}

/// Two bits of vectors take long enough to be disturbed.
fn slow(output: &Path) -> Command {
    let output = text(output);
    command([
        "compress",
        &unet(),
        "-o",
        &output,
        "--bits",
        "6",
        "--granularity",
        "channel",
        "--target",
        "macOS15",
        "--force",
    ])
}

fn whole_run(dir: &Path) -> Duration {
    let begin = Instant::now();
    assert!(slow(&dir.join("whole.mlpackage")).status().unwrap().success());
    begin.elapsed()
}

#[cfg(unix)]
#[test]
fn a_killed_compression_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole_run(dir.path());
    let mut rng = Rng::new(whole.subsec_nanos().into());
    for signal in ["-KILL", "-INT", "-KILL", "-INT"] {
        let place = dir.path().join("disturbed");
        std::fs::create_dir_all(&place).unwrap();
        let output = place.join("x.mlpackage");
        let mut child = slow(&output).spawn().unwrap();
        std::thread::sleep(whole.mul_f32(0.2 + 0.7 * rng.unit()));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        if output.exists() {
            mil::validate(Package::open(&output).unwrap().model().program().unwrap()).unwrap();
        }
        if signal == "-INT" {
            assert!(matches!(status.code(), Some(130 | 0) | None), "{status}");
        }
        // What a killed one left is hidden, and goes with the next.
        assert!(slow(&output).status().unwrap().success());
        assert_eq!(names(&place), ["x.mlpackage"]);
        std::fs::remove_dir_all(&place).unwrap();
    }
}

#[test]
fn calibration_data_choose_codes_of_the_denoiser_and_change_no_size() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| text(dir.path().join(name));
    let (list, data) = (place("list.txt"), place("data.safetensors"));
    std::fs::write(&list, "rocket\nred heart\n").unwrap();
    let draw = ["calibrate", "-m", &text(&*CONVERTED), "-o", &data, "--prompts", &list];
    succeed(draw.into_iter().chain(["--steps", "3", "--scheduler", "ddim", "--samples", "8"]));

    let plain = json(["compress", &unet(), "-o", &place("plain.mlpackage"), "--bits", "3", "--target", "macOS15"]);
    let by_data = ["--bits", "3", "--target", "macOS15", "--calibration", &data, "--samples", "4"];
    // The same for one package and for a folder, whose text encoder the data say nothing of; and for any number of threads.
    let whole = text(&*CONVERTED);
    let folder = json(["compress", &whole, "-o", &place("folder")].into_iter().chain(by_data));
    let [encoder, denoiser] = [0, 1].map(|i| &folder["packages"][i]);
    assert!(encoder["calibration"].is_null(), "{encoder}");
    assert_eq!(denoiser["calibration"]["samples"], 4);
    let n = denoiser["calibration"]["weights"].as_u64().unwrap();
    assert!(n > 100 && n <= denoiser["n_compressed"].as_u64().unwrap(), "{n}");
    assert_eq!(denoiser["bytes"], plain["packages"][0]["bytes"]);
    let calibrated = denoiser["weights"].as_array().unwrap();
    let calibrated = calibrated.iter().filter(|w| w["encoding"] == "palette of 8, calibrated").count();
    assert_eq!(calibrated as u64, n);
    let folder = Path::new(&place("folder")).join("Stable_Diffusion_version_sd-emoji_unet.mlpackage");
    for threads in ["1", "3"] {
        let output = place(&format!("{threads}.mlpackage"));
        let input = unet();
        let args = ["compress", &input, "-o", &output].into_iter().chain(by_data);
        assert!(command(args).env("RAYON_NUM_THREADS", threads).status().unwrap().success());
        let weights = |dir: &Path| files(dir).into_iter().find(|(name, _)| name.ends_with("weight.bin")).unwrap().1;
        assert!(weights(Path::new(&output)) == weights(&folder), "{threads} threads make other codes");
    }

    let output = place("refused.mlpackage");
    let encoder = text(CONVERTED.join("Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage"));
    let refuse = |package: &str, how: &[&str], fact: &str| {
        let error = fail(["compress", package, "-o", &output, "--calibration", &data].iter().chain(how));
        assert!(error.contains(fact), "{error}");
    };
    refuse(&encoder, &["--bits", "4"], "is not of this model");
    refuse(&unet(), &["--sparsity", "0.5"], "--calibration chooses codes of palettes and integers");
    refuse(&unet(), &["--bits", "4", "--samples", "0"], "at least 1 is needed");
    assert!(!Path::new(&output).exists());
}
