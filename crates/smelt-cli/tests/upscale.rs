//! Upscalers from the command line: files in every naming, packages, and pictures made larger, on networks that are made here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[allow(dead_code, reason = "it writes more kinds of files than are needed here")]
#[path = "../../sd-checkpoint/tests/torch_files/made.rs"]
mod torch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::made::{self, Owned};
use common::{command, fail, files, json, names, read_picture, run, succeed, text};
use safetensors::Dtype;
use sd_runtime::image::{Filter, GreyImage, PngRows, PngText, Region, RgbImage, Size, write_png_rows};
use testkit::Rng;

const FEATURES: usize = 8;
const GROWTH: usize = 4;
const BLOCKS: usize = 2;

/// The tensors of a small network, under the names of BasicSR.
fn network(unshuffle: usize) -> BTreeMap<String, Owned> {
    let mut rng = Rng::new(5);
    let mut tensors = BTreeMap::new();
    let mut put = |name: &str, c_out: usize, c_in: usize, gain: f32, offset: f32| {
        let scale = gain / ((9 * c_in) as f32).sqrt();
        let mut values = |n: usize, scale: f32, offset: f32| -> Vec<u8> {
            (0..n).flat_map(|_| (offset + scale * (2.0 * rng.unit() - 1.0)).to_le_bytes()).collect()
        };
        let weight = values(c_out * c_in * 9, 2.0 * scale, 0.0);
        let bias = values(c_out, 0.05, offset);
        tensors.insert(format!("{name}.weight"), (Dtype::F32, vec![c_out, c_in, 3, 3], weight));
        tensors.insert(format!("{name}.bias"), (Dtype::F32, vec![c_out], bias));
    };
    put("conv_first", FEATURES, 3 * unshuffle * unshuffle, 1.0, 0.0);
    for (block, dense, layer) in (0..BLOCKS).flat_map(|b| (1..4).flat_map(move |d| (0..5).map(move |l| (b, d, l)))) {
        let c_out = if layer == 4 { FEATURES } else { GROWTH };
        put(&format!("body.{block}.rdb{dense}.conv{}", layer + 1), c_out, FEATURES + layer * GROWTH, 1.0, 0.0);
    }
    for name in ["conv_body", "conv_up1", "conv_up2", "conv_hr"] {
        put(name, FEATURES, FEATURES, 1.0, 0.0);
    }
    put("conv_last", 3, FEATURES, 0.5, 0.5);
    tensors
}

/// The names of ESRGAN's first version.
fn as_list(tensors: &BTreeMap<String, Owned>) -> BTreeMap<String, Owned> {
    let places = [
        ("conv_first", "model.0"),
        ("conv_body", "model.1.sub.2"),
        ("conv_up1", "model.3"),
        ("conv_up2", "model.6"),
        ("conv_hr", "model.8"),
        ("conv_last", "model.10"),
    ];
    let name = |key: &str| {
        let (module, leaf) = key.rsplit_once('.').unwrap();
        match module.strip_prefix("body.") {
            Some(rest) => format!("model.1.sub.{}.0.{leaf}", rest.replace("rdb", "RDB")),
            None => format!("{}.{leaf}", places.iter().find(|(own, _)| *own == module).unwrap().1),
        }
    };
    tensors.iter().map(|(key, tensor)| (name(key), tensor.clone())).collect()
}

/// A file of PyTorch.
fn torch_file(path: &Path, tensors: &BTreeMap<String, Owned>) {
    let mut saved = torch::Saved::new();
    for (key, (_, shape, bytes)) in tensors {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        saved.tensor(key, "FloatStorage", bytes, shape, &strides);
    }
    fs::write(path, torch::archive(&saved, false)).unwrap();
}

/// A folder with a network and a picture.
struct Place {
    dir: tempfile::TempDir,
    model: String,
    picture: String,
}

impl Place {
    fn new(unshuffle: usize, width: usize, height: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (model, picture) = (dir.path().join("tiny.safetensors"), dir.path().join("small.png"));
        made::write(&model, &network(unshuffle));
        drawn(width, height).write_png(fs::File::create(&picture).unwrap(), &[]).unwrap();
        Self { dir, model: text(model), picture: text(picture) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Upscales the picture, and reads what was written.
    fn upscale(&self, output: &str, more: &[&str]) -> RgbImage {
        let (model, to) = (self.model.as_str(), text(self.path(output)));
        let options = ["upscale", &self.picture, "-o", &to].into_iter().chain(more.iter().copied());
        let model = if more.contains(&"-m") { Vec::new() } else { vec!["-m", model] };
        succeed(options.chain(model));
        read_picture(to)
    }
}

fn drawn(width: usize, height: usize) -> RgbImage {
    let pixel = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        [(x / 3.0).sin() + (y / 4.0).cos(), ((x + y) / 5.0).sin(), (x * y / 40.0).cos()]
    };
    let pixels = (0..width * height).flat_map(pixel).map(|v| (127.0 + 60.0 * v) as u8).collect();
    RgbImage::new(width, height, pixels).unwrap()
}

/// The largest difference of two pictures of one size, in grey levels.
#[track_caller]
fn apart(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.size(), b.size());
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn every_form_of_a_network_gives_the_same_package() {
    let place = Place::new(1, 8, 8);
    let tensors = network(1);
    made::write(&place.path("list.safetensors"), &as_list(&tensors));
    torch_file(&place.path("plain.pth"), &tensors);
    torch_file(&place.path("list.pt"), &as_list(&tensors));
    let convert = |name: &str| {
        let to = place.path(&format!("of-{name}"));
        succeed(["convert", &text(place.path(name)), "-o", &text(&to), "--model-version", "m", "--size", "16x24"]);
        files(&to)
    };
    let expected = convert("tiny.safetensors");
    assert!(expected.keys().all(|name| name.starts_with("Upscaler_m.mlpackage/")), "{:?}", expected.keys());
    for name in ["list.safetensors", "plain.pth", "list.pt"] {
        assert!(convert(name) == expected, "{name}");
    }
    let package = text(place.path("of-plain.pth/Upscaler_m.mlpackage"));
    assert!(succeed(["inspect", &package]).contains("picture"));
    let against = json(["verify", &package, "--against", &text(place.path("list.pt")), "--min-psnr", "55"]);
    assert_eq!(against["passed"], true, "{against}");
    let facts = json(["inspect", &text(place.path("list.pt"))]);
    assert_eq!(facts["kind"], "an upscaler, ESRGAN (RRDBNet), x4, 2 blocks, 8 features, 4 growth channels");
    assert_eq!(facts["components"][0]["fault"], serde_json::Value::Null);
}

#[test]
fn pictures_become_four_times_as_large_in_one_part_in_several_and_by_packages() {
    let place = Place::new(1, 90, 61);
    let whole = place.upscale("whole.png", &[]);
    assert_eq!((whole.width(), whole.height()), (360, 244));
    let parts = place.upscale("parts.png", &["--tile", "48", "--overlap", "16"]);
    assert!(apart(&parts, &whole) <= 1, "{}", apart(&parts, &whole));
    let packages = text(place.path("packages"));
    succeed(["convert", &place.model, "-o", &packages, "--size", "64", "--precision", "float32"]);
    // Its right and lower edge are reflected, where the network sees nothing in parts that fit.
    let inner = |picture: &RgbImage| picture.crop(Region { left: 0, top: 0, right: 300, bottom: 180 });
    for model in [packages.clone(), text(place.path("packages/Upscaler_tiny.mlpackage"))] {
        let by_package = place.upscale("package.png", &["-m", &model, "--overlap", "16"]);
        assert!(apart(&inner(&by_package), &inner(&whole)) <= 1);
    }
    let twice = place.upscale("twice.png", &["--scale", "2"]);
    assert_eq!(twice, whole.resize(Size { width: 180, height: 122 }, Filter::Lanczos));
    let half = place.upscale("half.png", &["--precision", "float16"]);
    assert!(apart(&half, &whole) <= 3);
}

#[test]
fn networks_that_take_squares_of_pixels_upscale_odd_pictures_and_those_of_one_pixel() {
    let place = Place::new(2, 51, 33);
    let whole = place.upscale("whole.png", &[]);
    assert_eq!((whole.width(), whole.height()), (102, 66));
    assert!(apart(&place.upscale("parts.png", &["--tile", "32", "--overlap", "12"]), &whole) <= 1);
    for (unshuffle, factor) in [(1, 4), (2, 2), (4, 1)] {
        let one = Place::new(unshuffle, 1, 1);
        let upscaled = one.upscale("large.png", &[]);
        assert_eq!((upscaled.width(), upscaled.height()), (factor, factor));
    }
}

#[test]
fn several_pictures_go_into_a_folder_with_their_transparency() {
    let place = Place::new(1, 20, 10);
    let size = Size { width: 12, height: 9 };
    let alpha = GreyImage::new(size, (0..108).map(|i| (i * 2) as u8).collect()).unwrap();
    let clear = place.path("clear.png");
    let content = |rows: &mut PngRows<'_>| rows.rows(drawn(12, 9).pixels());
    write_png_rows(fs::File::create(&clear).unwrap(), size, Some(&alpha), &[], content).unwrap();
    let folder = text(place.path("large"));
    let said = json(["upscale", &place.picture, &text(&clear), "-m", &place.model, "-o", &folder]);
    assert_eq!(names(Path::new(&folder)), ["clear.png", "small.png"]);
    assert_eq!((&said["factor"], &said["pictures"][0]["alpha"]), (&4.into(), &false.into()));
    assert_eq!((&said["pictures"][1]["alpha"], &said["pictures"][1]["width"]), (&true.into(), &48.into()));
    let file = fs::File::open(Path::new(&folder).join("clear.png")).unwrap();
    let (_, found) = RgbImage::read_with_alpha(std::io::BufReader::new(file)).unwrap();
    assert_eq!(found, Some(alpha.resize(Size { width: 48, height: 36 }, Filter::Lanczos)));
}

#[test]
fn what_cannot_be_upscaled_is_refused_before_anything_is_written() {
    let place = Place::new(2, 20, 10);
    let output = text(place.path("large.png"));
    let refused = |more: &[&str], words: &str| {
        let model = if more.contains(&"-m") { Vec::new() } else { vec!["-m", place.model.as_str()] };
        let all = ["upscale", &place.picture, "-o", &output].into_iter().chain(more.iter().copied()).chain(model);
        let error = fail(all);
        assert!(error.contains(words), "{error}");
        assert!(!place.path("large.png").exists());
    };
    refused(&["--scale", "3"], "--scale 3 is larger than this upscaler makes a picture of 20x10");
    refused(&["--scale", "-1"], "no number of times");
    refused(&["--tile", "33"], "a multiple of 2");
    refused(&["--tile", "32", "--overlap", "16"], "15 would be the most");
    refused(&["-m", &text(testkit::demo())], "is no upscaler: it is Stable Diffusion 1.x or 2.x");
    refused(&["-m", &place.picture], "give an upscaler");
    refused(&["-m", "nowhere.pth"], "not there");
    refused(&["--engine", "burn"], "the burn engine executes the networks of a checkpoint");
    let mut broken = network(2);
    broken.remove("body.1.rdb2.conv3.weight");
    made::write(&place.path("broken.safetensors"), &broken);
    refused(&["-m", &text(place.path("broken.safetensors"))], "body.1.rdb2.conv3.weight");
    let bytes = fs::read(&place.model).unwrap();
    fs::write(place.path("short.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refused(&["-m", &text(place.path("short.safetensors"))], "damaged or cut off");
    let packages = text(place.path("packages"));
    succeed(["convert", &place.model, "-o", &packages, "--size", "32"]);
    refused(&["-m", &packages, "--tile", "64"], "takes parts of 32x32");
    refused(&["-m", &packages, "--precision", "float16"], "is a package");
    let same = fail(["upscale", &place.picture, "-m", &place.model, "-o", &place.picture]);
    assert!(same.contains("small.png"), "{same}");
    let sized = fail(["convert", &place.model, "-o", &text(place.path("odd")), "--size", "33"]);
    assert!(sized.contains("multiples of 2"), "{sized}");
    let drawn = fail(["generate", "a house", "-m", &place.model, "-o", &output]);
    assert!(drawn.contains("is an upscaler"), "{drawn}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_picture() {
    let place = Place::new(1, 400, 400);
    let output = place.path("large.png");
    let arguments = ["upscale", &place.picture, "-m", &place.model, "-o", &text(&output), "--tile", "64"];
    let mut child = command(arguments).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    match status.code() {
        // It was done before.
        Some(0) => assert!(output.exists()),
        _ => assert_eq!(names(place.dir.path()), ["small.png", "tiny.safetensors"], "{status}"),
    }
}

#[test]
fn a_picture_goes_to_standard_output() {
    let place = Place::new(1, 10, 6);
    let output = command(["upscale", &place.picture, "-m", &place.model, "-o", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let piped = RgbImage::read(std::io::Cursor::new(output.stdout)).unwrap();
    assert_eq!(piped, place.upscale("file.png", &[]));
    let ran = run(["upscale", "--help"]);
    assert!(ran.stdout.contains("RealESRGAN_x4plus.pth"), "{}", ran.stdout);
}

#[test]
fn a_larger_picture_is_written_as_its_name_says_and_tells_how_the_smaller_one_was_made() {
    let place = Place::new(1, 20, 10);
    let texts = [PngText::new("parameters", "a fox\nSteps: 20, Sampler: Euler, Seed: 5, Version: v1.10.1")];
    drawn(20, 10).write_png(fs::File::create(&place.picture).unwrap(), &texts).unwrap();
    let png = place.upscale("large.png", &[]);
    assert_eq!(place.upscale("large.webp", &[]), png);
    assert!(apart(&place.upscale("large.jpg", &[]), &png) < 48);
    let paths = ["large.png", "large.webp", "large.jpg"].map(|name| text(place.path(name)));
    let told = json(["metadata", &paths[0], &paths[1], &paths[2]]);
    for file in told["files"].as_array().unwrap() {
        let want = "a fox\nSteps: 20, Sampler: Euler, Seed: 5, Postprocess upscale by: 4, Postprocess upscaler: tiny, Version: \
                    v1.10.1";
        assert_eq!(file["parameters"], want, "{}", file["path"]);
    }
    let clear = text(place.path("clear.png"));
    let alpha = GreyImage::new(drawn(20, 10).size(), vec![9; 200]).unwrap();
    let rows = |out: &mut PngRows<'_>| out.rows(drawn(20, 10).pixels());
    write_png_rows(fs::File::create(&clear).unwrap(), alpha.size(), Some(&alpha), &[], rows).unwrap();
    let message = fail(["upscale", &clear, "-m", &place.model, "-o", &text(place.path("clear.jpg"))]);
    assert!(message.contains("which only PNG keeps here"), "{message}");
}
