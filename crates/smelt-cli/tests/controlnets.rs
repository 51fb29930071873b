//! ControlNets from the command line: what is typed, what the picture says of it, and what has no effect.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use common::{fail, succeed, text};
use sd_runtime::image::{Difference, RgbImage, read_png_text};
use sd_runtime::pipeline::PictureSettings;

/// A checkpoint of small random weights, and two ControlNets for it.
const CHECKPOINTS: [&str; 3] = ["tiny-sd15", "tiny-controlnet", "tiny-sd15-controlnet-b"];

struct Place {
    dir: tempfile::TempDir,
    checkpoints: [String; 3],
}

impl Place {
    fn new() -> Option<Self> {
        let golden = testkit::golden()?;
        let dir = tempfile::tempdir().unwrap();
        let squares = |i: usize| if (i / 3 % 48 / 12 + i / 3 / 48 / 12).is_multiple_of(2) { 230 } else { 20 };
        let picture = RgbImage::new(48, 48, (0..48 * 48 * 3).map(squares).collect()).unwrap();
        picture.write_png(File::create(dir.path().join("squares.png")).unwrap(), &[]).unwrap();
        Some(Self { dir, checkpoints: CHECKPOINTS.map(|name| text(golden.join("checkpoints").join(name))) })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The arguments of a picture from a model, with more of them.
    fn args(&self, model: &str, name: &str, more: &[&str]) -> Vec<String> {
        let common = ["--size", "64x64", "--steps", "3", "--seed", "5", "--no-safety-check"];
        let own = ["generate", "a fox", "-m", model, "-o", &text(self.path(name))].map(str::to_owned);
        own.into_iter().chain(common.iter().chain(more).map(|word| (*word).to_owned())).collect()
    }

    fn draw(&self, model: &str, name: &str, more: &[&str]) -> PathBuf {
        succeed(self.args(model, name, more));
        self.path(name)
    }
}

fn settings(path: &Path) -> PictureSettings {
    PictureSettings::from_png_texts(&read_png_text(BufReader::new(File::open(path).unwrap())).unwrap()).unwrap()
}

fn decibels(a: &Path, b: &Path) -> f64 {
    Difference::between(&common::read_picture(a), &common::read_picture(b)).unwrap().psnr_db
}

#[test]
fn pictures_guide_and_say_so() {
    let Some(place) = Place::new() else { return };
    let [model, net, other] = place.checkpoints.each_ref().map(String::as_str);
    let squares = text(place.path("squares.png"));
    let plain = place.draw(model, "plain.png", &[]);
    let one = ["--controlnet", net, "--control-image", &squares];
    let guided = place.draw(model, "guided.png", &one);
    assert!(decibels(&plain, &guided) < 60.0, "the picture does not guide");
    let off = place.draw(model, "off.png", &[&one[..], &["--control-weight", "0"]].concat());
    assert!(decibels(&plain, &off) >= 60.0, "a weight of 0 guides");
    let both = ["--controlnet", net, "--controlnet", other, "--control-image", &squares];
    let more = [
        "--control-weight",
        "0.8",
        "--control-weight",
        "-0.5",
        "--control-start",
        "0.2",
        "--control-end",
        "1",
        "--control-preprocess",
        "none",
        "--control-preprocess",
        "canny:50,90",
        "--low-memory",
    ];
    let said = settings(&place.draw(model, "both.png", &[&both[..], &more].concat())).controls;
    let facts: Vec<_> = said.iter().map(|c| (&*c.controlnet, &*c.file, c.weight, c.start, c.end)).collect();
    let file = "squares.png";
    let names = ["tiny-controlnet", "tiny-sd15-controlnet-b"];
    assert_eq!(facts, [(names[0], file, 0.8, 0.2, 1.0), (names[1], file, -0.5, 0.2, 1.0)]);
    let preprocess: Vec<_> = said.iter().map(|control| control.preprocess.as_deref()).collect();
    assert_eq!(preprocess, [None, Some("canny:50,90")]);
    // The file beside the model is an input, which no picture replaces.
    let refused = fail(place.args(model, "squares.png", &one));
    assert!(refused.contains("--control-image"), "{refused}");
}

#[test]
fn packages_are_guided_by_the_nets_beside_them() {
    let Some(place) = Place::new() else { return };
    let [model, net, other] = place.checkpoints.each_ref().map(String::as_str);
    let (squares, packages) = (text(place.path("squares.png")), text(place.path("packages")));
    let convert = ["convert", model, "-o", &packages, "--size", "64x64", "--unet-support-controlnet"];
    succeed(convert.iter().chain(&["--component", "text-encoder,unet,vae-decoder,vae-encoder", "--controlnet", net]));
    let guide = ["--control-image", &squares, "--controlnet"];
    let from_checkpoint = place.draw(model, "checkpoint.png", &[&guide[..], &[net]].concat());
    let from_packages = place.draw(&packages, "packages.png", &[&guide[..], &["tiny-controlnet"]].concat());
    assert!(decibels(&from_checkpoint, &from_packages) >= 60.0);
    let begun = ["--image", &squares, "--strength", "0.7"];
    place.draw(&packages, "begun.png", &[&guide[..], &["tiny-controlnet"], &begun].concat());
    // One beside the packages and one that is converted in memory.
    place.draw(&packages, "mixed.png", &[&guide[..], &["tiny-controlnet", "--controlnet", other]].concat());
    let missing = fail(place.args(&packages, "x.png", &[&guide[..], &["depth"]].concat()));
    assert!(missing.contains("no package ControlNet_depth.mlpackage"), "{missing}");
    let weights = ["--control-weight", "1", "--control-weight", "2"];
    let counts = fail(place.args(model, "x.png", &[&guide[..], &[net], &weights].concat()));
    assert!(counts.contains("--control-weight is given 2 times, and --controlnet 1 times"), "{counts}");
    let window = fail(place.args(
        model,
        "x.png",
        &[&guide[..], &[net, "--control-start", "0.9", "--control-end", "0.2"]].concat(),
    ));
    assert!(window.contains("from 0.9 to 0.2 of the steps"), "{window}");
}
