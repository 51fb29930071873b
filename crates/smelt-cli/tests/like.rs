//! Pictures drawn again from what they say of themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};

use common::{fail, json, read_picture, run, succeed, text};
use sd_runtime::image::{PngText, RgbImage};
use testkit::demo;

/// Draws to a file in the folder and returns it.
fn draw(dir: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = dir.join(name);
    succeed(["generate", "-m", &text(demo()), "-o", &text(&path)].iter().chain(args));
    path
}

fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A picture that another tool drew, as far as its text goes.
fn theirs(dir: &Path, name: &str, parameters: &str) -> String {
    let path = dir.join(name);
    let image = RgbImage::new(64, 64, vec![9; 3 * 64 * 64]).unwrap();
    image.write_png(File::create(&path).unwrap(), &[PngText::new("parameters", parameters)]).unwrap();
    text(path)
}

#[test]
fn a_picture_of_our_own_is_repeated_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let sketch = text(draw(dir.path(), "sketch.png", &["rocket", "--steps", "1", "--size", "64x64"]));
    let small = ["--size", "64x64", "--steps", "2"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&["red heart", "--seed", "7", "--negative-prompt", ""], &[]),
        (
            &["red heart", "--negative-prompt", "blue, green", "--scheduler", "euler-a-karras", "--random", "nvidia"],
            &[],
        ),
        (&["cat", "--variation-seed", "3", "--variation-strength", "0.3", "--guidance-interval", "0:0.5"], &[]),
        (&["star", "--hires", "1.5", "--hires-by", "lanczos", "--hires-strength", "0.5", "--random", "torch"], &[]),
        (&["star", "--image", &sketch, "--strength", "0.7", "--fit", "fill", "--seed", "3"], &["--image", &sketch]),
    ];
    for (idx, (args, beside)) in cases.into_iter().enumerate() {
        let first = draw(dir.path(), &format!("{idx}.png"), &[args, &small].concat());
        let path = text(&first);
        let like = [&["--like", &path], beside].concat();
        let again = draw(dir.path(), &format!("{idx}-again.png"), &like);
        assert!(bytes(&first) == bytes(&again), "{args:?}");
    }
}

#[test]
fn one_of_several_is_repeated_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sketch = text(draw(dir.path(), "sketch.png", &["rocket", "--steps", "1", "--size", "64x64"]));
    let fixed = ["star", "--size", "64x64", "--steps", "3", "--count", "3", "--scheduler", "euler-a"];
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--random", "torch"], &[]),
        (&["--seeds", "each", "--seed", "4"], &[]),
        (&["--hires", "1.5"], &[]),
        (&["--image", &sketch, "--variation-seed", "9", "--variation-strength", "0.5"], &["--image", &sketch]),
    ];
    for (idx, (args, beside)) in cases.into_iter().enumerate() {
        draw(dir.path(), &format!("{idx}.png"), &[&fixed, args].concat());
        for of in [1, 3] {
            let first = dir.path().join(format!("{idx}-{of}.png"));
            let path = text(&first);
            let again = draw(dir.path(), "again.png", &[&["--like", &path], beside].concat());
            assert!(bytes(&first) == bytes(&again), "{args:?} {of}");
        }
    }
    // Another seed is another picture, and one.
    let path = text(dir.path().join("0-3.png"));
    let other = draw(dir.path(), "other.png", &["--like", &path, "--seed", "5"]);
    let want =
        draw(dir.path(), "want.png", &[&fixed[..5], &fixed[7..], &["--random", "torch", "--seed", "5"]].concat());
    assert!(bytes(other) == bytes(want));
}

#[test]
fn jpeg_and_webp_say_what_a_png_says() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["red heart, «日本»", "--negative-prompt", "blue", "--steps", "2", "--seed", "7", "--size", "64x64"];
    let [png, jpeg, webp] = ["a.png", "a.jpg", "a.webp"].map(|name| draw(dir.path(), name, &args));
    assert!(bytes(&jpeg).starts_with(&[0xFF, 0xD8]) && bytes(&webp)[8..].starts_with(b"WEBP"));
    assert!(read_picture(&webp) == read_picture(&png));
    for (name, path) in [("b.png", &jpeg), ("c.png", &webp)] {
        let again = draw(dir.path(), name, &["--like", &text(path)]);
        assert!(bytes(again) == bytes(&png), "{path:?}");
    }
    let told = json(["metadata", &text(&png), &text(&jpeg), &text(&webp)]);
    let made: Vec<_> = told["files"].as_array().unwrap().iter().map(|file| &file["made"]).collect();
    assert!(made[0] == made[1] && made[0] == made[2], "{made:#?}");
    let grid = dir.path().join("grid.webp");
    succeed(["compare", &text(&png), &text(&jpeg), "--grid", &text(&grid)]);
    assert!(bytes(&grid)[8..].starts_with(b"WEBP"));
    let message = fail(["generate", "cat", "-o", &text(dir.path().join("a.avif"))]);
    assert!(message.contains("a.avif is not named as a PNG, JPEG or WebP"), "{message}");
}

#[test]
fn noise_that_was_given_is_no_setting() {
    let dir = tempfile::tempdir().unwrap();
    let latents = text(dir.path().join("n.safetensors"));
    let args = ["star", "--steps", "1", "--size", "64x64"];
    draw(dir.path(), "a.png", &[&args[..], &["--latents", &latents, "--seed", "3"]].concat());
    let given = draw(dir.path(), "b.png", &[&args[..], &["--noise", &latents]].concat());
    let again = text(dir.path().join("c.png"));
    let fixed = ["generate", "--like", &text(&given), "-m", &text(demo()), "-o", &again];
    let ran = run(fixed);
    assert!(ran.stderr.contains("not taken over: Noise: given (give it with --noise)"), "{}", ran.stderr);
    assert!(bytes(&again) != bytes(&given));
    let ran = run(fixed.iter().chain(&["--noise", &latents]));
    assert!(!ran.stderr.contains("not taken over"), "{}", ran.stderr);
    assert!(bytes(&again) == bytes(&given));
}

#[test]
fn options_stand_before_the_picture_and_the_picture_before_settings() {
    let dir = tempfile::tempdir().unwrap();
    let first = text(draw(dir.path(), "a.png", &["rocket", "--steps", "2", "--seed", "5", "--size", "64x64"]));
    let settings = text(dir.path().join("settings.json"));
    std::fs::write(&settings, r#"{"steps": 1, "seed": 9, "forecast": null, "prompt": "cat"}"#).unwrap();
    let again = draw(dir.path(), "b.png", &["--like", &first, "--settings", &settings]);
    assert!(bytes(&first) == bytes(again));
    let other = draw(dir.path(), "c.png", &["star", "--like", &first, "--seed", "6", "--size", "48x64"]);
    let want = draw(dir.path(), "d.png", &["star", "--steps", "2", "--seed", "6", "--size", "48x64"]);
    assert!(bytes(other) == bytes(want));
    // Another of the same.
    let e = text(dir.path().join("e.png"));
    let summary = json(["generate", "--like", &first, "-m", &text(demo()), "-o", &e, "--seed", "random"]);
    assert_ne!(summary["seed"], 5);
    let message = fail(["generate", "--like", &first, "-m", &text(demo()), "-o", &first]);
    assert!(message.contains("would replace") && message.contains("--like"), "{message}");
}

#[test]
fn settings_of_the_web_ui_draw_what_the_same_options_draw() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = theirs(
        dir.path(),
        "theirs.png",
        "red heart\nNegative prompt: blue\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 42, Size: \
         64x48, Model hash: 6ce0161689, Model: v1-5, Tiling: True, Face restoration: CodeFormer, Version: v1.10.1",
    );
    let path = text(dir.path().join("a.png"));
    let args = ["generate", "--like", &theirs, "-m", &text(demo()), "-o", &path];
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let warnings: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert_eq!(
        warnings[0],
        "warning: of the settings of AUTOMATIC1111 this is not taken over: Tiling: True; Face restoration: CodeFormer"
    );
    assert!(warnings[2].contains("drawn with the model v1-5, and sd-emoji is loaded"), "{}", warnings[2]);
    let by_hand = draw(
        dir.path(),
        "b.png",
        &[
            "red heart",
            "--negative-prompt",
            "blue",
            "--steps",
            "3",
            "--scheduler",
            "dpmpp-2m-karras",
            "--guidance",
            "5",
            "--seed",
            "42",
            "--size",
            "64x48",
            "--random",
            "nvidia",
        ],
    );
    assert!(bytes(&path) == bytes(by_hand));
    let summary = json(args);
    assert_eq!(summary["not_taken"][0]["key"], "Tiling");
    assert_eq!(summary["not_taken"][1], serde_json::json!({"key": "Face restoration", "value": "CodeFormer"}));
}

#[test]
fn a_picture_to_begin_with_is_asked_for_and_counted_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = theirs(
        dir.path(),
        "theirs.png",
        "red heart\nSteps: 4, Sampler: Euler, CFG scale: 5, Seed: 42, Size: 64x64, Denoising strength: 0.5, Version: v1.10.1",
    );
    let model = text(demo());
    let message = fail(["generate", "--like", &theirs, "-m", &model, "-o", &text(dir.path().join("a.png"))]);
    assert!(
        message.contains("theirs.png began with another picture, which it does not name; give it with --image"),
        "{message}"
    );
    let like = draw(dir.path(), "a.png", &["--like", &theirs, "--image", &theirs]);
    // int(0.5 · 4) + 1 of 4.
    let by_hand = draw(
        dir.path(),
        "b.png",
        &[
            "red heart",
            "--steps",
            "4",
            "--scheduler",
            "euler-uniform",
            "--guidance",
            "5",
            "--seed",
            "42",
            "--size",
            "64x64",
            "--random",
            "nvidia",
            "--image",
            &theirs,
            "--strength",
            "0.75",
            "--fit",
            "resize",
        ],
    );
    assert!(bytes(like) == bytes(by_hand));
}

#[test]
fn a_picture_without_settings_is_none_to_be_like() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain.png");
    RgbImage::new(8, 8, vec![9; 192]).unwrap().write_png(File::create(&path).unwrap(), &[]).unwrap();
    let message = fail(["generate", "--like", &text(&path), "-o", &text(dir.path().join("x.png"))]);
    assert!(message.contains("plain.png") && message.contains("does not say how it was made"), "{message}");
    assert_eq!(read_picture(&path).width(), 8);
}
