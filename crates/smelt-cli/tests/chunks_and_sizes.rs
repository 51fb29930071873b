//! Packages in parts, and packages for several sizes of picture.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{fail, json, names, succeed, text};
use mlpackage::Package;
use testkit::{demo, golden};

const UNET: &str = "Stable_Diffusion_version_sd-emoji_unet";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

fn convert(output: &Path, more: &[&str]) -> serde_json::Value {
    let (checkpoint, output) = (text(demo()), text(output));
    json(["convert", &checkpoint, "-o", &output].iter().chain(more))
}

fn unet_in(dir: &Path) -> String {
    text(dir.join(format!("{UNET}.mlpackage")))
}

fn bytes_of(package: &Path) -> u64 {
    Package::open(package).unwrap().n_bytes()
}

/// The UNet of a directory, compressed where bits are told.
fn unet(dir: &Path, bits: Option<&str>) -> String {
    let name = bits.map_or("plain".to_owned(), |bits| format!("{bits}-bits"));
    let output = dir.join(name);
    convert(&output, &[&["--component", "unet"][..], &bits.map_or(vec![], |b| vec!["--quantize-nbits", b])].concat());
    unet_in(&output)
}

#[test]
fn parts_store_about_as_much_and_compute_what_the_whole_does() {
    let dir = tempfile::tempdir().unwrap();
    for bits in [None, Some("6"), Some("2")] {
        let package = unet(dir.path(), bits);
        let weights = json(["inspect", "--weights", &package]);
        let largest = weights["weights"].as_array().unwrap().iter().filter_map(|w| w["bytes"].as_u64()).max().unwrap();
        for n in 2..=4 {
            let output = dir.path().join(format!("{bits:?}-{n}"));
            let made = json(["chunk", &package, "-n", &n.to_string(), "-o", &text(&output), "--check"]);
            assert_eq!(made["identical"], true);
            let stored = |i: usize| {
                std::fs::metadata(output.join(format!("{UNET}_chunk{i}.mlpackage/{WEIGHTS}"))).unwrap().len()
            };
            let sizes: Vec<u64> = (1..=n).map(stored).collect();
            let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
            if n == 2 {
                // Weights are not cut: parts can be one apart, which in a model so small is 8 %.
                assert!(most - least <= largest, "{bits:?}: {sizes:?} with a weight of {largest}");
            }
            // Nothing is stored twice but what both parts read.
            let whole = std::fs::metadata(Path::new(&package).join(WEIGHTS)).unwrap().len();
            assert!(sizes.iter().sum::<u64>() < whole + whole / 50, "{sizes:?} of {whole}");
        }
    }
}

#[test]
fn boundaries_are_single_precision_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let package = unet(dir.path(), None);
    let [first, second] = ["a", "b"].map(|name| {
        let output = dir.path().join(name);
        succeed(["chunk", &package, "-n", "3", "-o", &text(&output)]);
        output
    });
    let part = text(first.join(format!("{UNET}_chunk1.mlpackage")));
    let alone = fail(["verify", &part, "--against", &text(demo())]);
    assert!(alone.contains("is one chunk of a model") && alone.contains("smelt chunk WHOLE.mlpackage"), "{alone}");
    for i in 1..=3 {
        let model = format!("{UNET}_chunk{i}.mlpackage/Data/com.apple.CoreML/model.mlmodel");
        assert!(std::fs::read(first.join(&model)).unwrap() == std::fs::read(second.join(&model)).unwrap());
        let part = Package::open(first.join(format!("{UNET}_chunk{i}.mlpackage"))).unwrap();
        let f = part.model().program().unwrap().main().unwrap();
        let crossing = f.body.outputs.iter().chain(f.inputs.iter().filter(|_| i > 1));
        let given = ["sample", "timestep", "encoder_hidden_states"];
        for &v in crossing.filter(|&&v| !given.contains(&f.name_of(v))) {
            assert_eq!(f.ty(v).as_tensor().unwrap().dtype, mil::DType::F32, "{}", f.name_of(v));
        }
    }
}

#[test]
fn a_pipeline_of_parts_is_one_package_that_computes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let package = unet(dir.path(), Some("4"));
    let output = dir.path().join("pipeline");
    succeed(["chunk", &package, "-n", "2", "-o", &text(&output), "--pipeline", "--check"]);
    assert_eq!(names(&output), [format!("{UNET}_chunked_pipeline.mlpackage")]);
    let pipeline = text(output.join(&names(&output)[0]));
    let verified = json(["verify", &pipeline, "--against", &package, "--engine", "reference"]);
    assert_eq!(verified["outputs"][0]["identical"], true, "{verified}");
    let again = fail(["chunk", &pipeline, "-o", &text(dir.path().join("x"))]);
    assert!(again.contains("pipeline"), "{again}");
}

#[test]
fn conversion_cuts_what_it_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("x");
    convert(&output, &["--component", "unet", "--quantize-nbits", "6", "--chunk-unet"]);
    let part = |i: usize| output.join(format!("{UNET}_chunk{i}.mlpackage"));
    let (whole, parts) = (bytes_of(Path::new(&unet_in(&output))), bytes_of(&part(1)) + bytes_of(&part(2)));
    assert!(parts < whole + whole / 10, "parts of {parts} bytes of a compressed package of {whole}");
    let encoded = json(["inspect", "--weights", &text(part(1))]).to_string();
    assert!(encoded.contains("palette of 64"));
    let message = fail(["chunk", &unet_in(&output), "-n", "9999", "-o", &text(dir.path().join("y"))]);
    assert!(message.contains("from 1 to"), "{message}");
}

#[test]
fn apples_packages_are_cut_too_compressed_or_not() {
    let Some(golden) = golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    for variant in ["split_einsum", "original", "q6", "q2", "ios18_q4"] {
        let package =
            golden.join("packages/tiny-sd15").join(variant).join("Stable_Diffusion_version_tiny-sd15_unet.mlpackage");
        let output = dir.path().join(variant);
        let made = json(["chunk", &text(&package), "-o", &text(&output), "--check"]);
        assert_eq!(made["identical"], true);
        let sizes = [1, 2].map(|i| {
            let name = format!("Stable_Diffusion_version_tiny-sd15_unet_chunk{i}.mlpackage");
            std::fs::metadata(output.join(name).join(WEIGHTS)).unwrap().len()
        });
        // Weights are not cut: in so small a network one of them may be more than a tenth.
        let weights = json(["inspect", "--weights", &text(&package)]);
        let largest = weights["weights"].as_array().unwrap().iter().filter_map(|w| w["bytes"].as_u64()).max().unwrap();
        let limit = largest.max(sizes[0].max(sizes[1]) / 10);
        assert!(sizes[0].abs_diff(sizes[1]) < limit, "{variant}: {sizes:?}");
    }
}

const SIZES: [&str; 3] = ["16x16", "24x16", "16x24"];

fn draw(models: &Path, size: &str, picture: &Path) -> Vec<u8> {
    let (models, output) = (text(models), text(picture));
    let fixed = ["generate", "rocket", "-m", &models, "-o", &output, "--steps", "1", "--guidance", "4"];
    succeed(fixed.iter().chain(&["--latent-size", size]));
    let file = std::io::BufReader::new(std::fs::File::open(picture).unwrap());
    let settings =
        sd_runtime::pipeline::PictureSettings::from_png_texts(&sd_runtime::image::read_png_text(file).unwrap());
    let (width, height) = settings.map(|s| (s.width, s.height)).unwrap();
    assert_eq!(format!("{}x{}", height / 8, width / 8), size);
    std::fs::read(picture).unwrap()
}

#[test]
fn three_sizes_are_functions_of_one_package_that_is_hardly_larger() {
    let dir = tempfile::tempdir().unwrap();
    let (one, three) = (dir.path().join("sd-emoji"), dir.path().join("three/sd-emoji"));
    convert(&one, &["--target", "macOS15"]);
    convert(&three, &["--target", "macOS15", "--latent-size", &SIZES.join(",")]);
    assert_eq!(names(&one), names(&three));
    let weights = |dir: &Path| std::fs::metadata(Path::new(&unet_in(dir)).join(WEIGHTS)).unwrap().len();
    assert_eq!(weights(&one), weights(&three), "the weights are there once");
    let (small, large) = (bytes_of(Path::new(&unet_in(&one))), bytes_of(Path::new(&unet_in(&three))));
    assert!(large * 100 < small * 105, "{large} against {small}");
    let package = Package::open(unet_in(&three)).unwrap();
    assert_eq!(package.model().description.default_function, "size_16x16");

    for size in SIZES {
        let picture = dir.path().join("x.png");
        assert!(draw(&three, size, &picture) == draw(&demo(), size, &picture), "{size}: another picture");
    }
    let (models, picture) = (text(&three), text(dir.path().join("x.png")));
    let message = fail(["generate", "x", "-m", &models, "-o", &picture, "--latent-size", "9x9"]);
    assert!(message.contains("72 wide, 72 high") && message.contains("--size 128x128,72x72"), "{message}");

    // All functions are compressed and cut at once.
    let cut = dir.path().join("cut");
    let made = json(["chunk", &unet_in(&three), "-n", "2", "-o", &text(&cut), "--check"]);
    assert_eq!(made["identical"], true);
    let packed = text(dir.path().join("four.mlpackage"));
    let made = json(["compress", &unet_in(&three), "-o", &packed, "--bits", "4"]);
    assert!(made["packages"][0]["average_bits"].as_f64().unwrap() < 4.1, "{made}");
    assert_eq!(Package::open(&packed).unwrap().model().program().unwrap().functions.len(), 3);
}

#[cfg(unix)]
#[test]
fn below_macos_15_sizes_are_packages_that_share_a_weight_file() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--quantize-nbits", "6", "--chunk-unet"]] {
        let output = dir.path().join(format!("{}/sd-emoji", more.len()));
        let sizes = SIZES.join(",");
        let made = convert(&output, &[&["--latent-size", &sizes][..], more].concat());
        let packages = made["packages"].as_array().unwrap();
        assert_eq!(packages.len(), 1 + 3 * 3, "{made}");
        assert_eq!(packages.iter().filter(|p| p["is_shared"] == true).count(), 3 * 2);
        let inode = |name: &str| std::fs::metadata(output.join(name).join(WEIGHTS)).unwrap().ino();
        for size in &SIZES[1..] {
            for chunk in ["", "_chunk1", "_chunk2"].iter().take(if more.is_empty() { 1 } else { 3 }) {
                let (first, other) = (format!("{UNET}{chunk}.mlpackage"), format!("{UNET}_{size}{chunk}.mlpackage"));
                assert_eq!(inode(&first), inode(&other), "{other}");
            }
        }
        if more.is_empty() {
            for size in SIZES {
                let picture = dir.path().join("x.png");
                assert!(draw(&output, size, &picture) == draw(&demo(), size, &picture), "{size}: another picture");
            }
        }
    }
    let twice = fail(["convert", &text(demo()), "-o", &text(dir.path().join("y")), "--latent-size", "8x8,12x8,8x8"]);
    assert!(twice.contains("8x8 is given twice"), "{twice}");
    let other: PathBuf = dir.path().join("y");
    assert!(!other.exists());
}

#[test]
fn parts_are_as_few_as_a_size_allows_and_none_is_larger() {
    let dir = tempfile::tempdir().unwrap();
    let package = unet(dir.path(), Some("6"));
    let whole = bytes_of(Path::new(&package));
    let cut = |limit: u64, name: &str| {
        let output = dir.path().join(name);
        json(["chunk", &package, "--max-bytes", &limit.to_string(), "-o", &text(&output)]);
        let parts = names(&output).into_iter().map(|name| bytes_of(&output.join(name)));
        parts.collect::<Vec<u64>>()
    };
    assert_eq!(cut(whole, "whole").len(), 1);
    for (limit, name) in [(whole / 4 * 3, "two"), (whole / 3, "more")] {
        let parts = cut(limit, name);
        assert!(parts.iter().all(|bytes| *bytes <= limit), "{parts:?} of {limit}");
        // One part fewer would not do: the same cuts are made by number.
        let output = dir.path().join(format!("{name}-fewer"));
        let n = parts.len() - 1;
        succeed(["chunk", &package, "-n", &n.to_string(), "-o", &text(&output)]);
        let largest = names(&output).into_iter().map(|name| bytes_of(&output.join(name))).max().unwrap();
        assert!(largest > limit, "{n} parts of at most {largest} would do for {limit}");
    }
    let message = fail(["chunk", &package, "--max-bytes", "10k", "-o", &text(dir.path().join("none"))]);
    assert!(message.contains("not into parts of at most 10.0 kB: of "), "{message}");
    assert!(!dir.path().join("none").exists());
}
