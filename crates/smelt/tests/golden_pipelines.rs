//! Every recorded run of diffusers, drawn again from its checkpoint with the noise that was drawn then.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

#[path = "golden_pipelines/ask.rs"]
mod ask;
#[path = "golden_pipelines/case.rs"]
mod case;
#[path = "golden_pipelines/place.rs"]
mod place;

use std::path::Path;

use case::Case;
use smelt::image::RgbImage;
use smelt::random::RandomSource;
use smelt::{Conversion, HostTensor, PipelineOptions, Request, Sizes, Stop, Unwatched};

/// Largest difference of a decoded picture, of values from −1 to 1.
const PICTURE: f32 = 2e-3;
/// The same of finished pictures, in levels of 256.
const LEVELS: f32 = 1.0;
/// Runs of other tests: `smelt-cli/tests/pipeline.rs` draws the model in the box.
const ELSEWHERE: [&str; 3] = ["sd-demo_pndm20", "sd-emoji_pndm20", "tiny-sd15_pndm5"];

/// Draws a case and says how far it is from what was recorded, as a share of what is allowed.
fn draw(golden: &Path, case: &Case) -> Result<f32, String> {
    let dir = tempfile::tempdir().unwrap();
    let place = place::checkpoint(golden, case, dir.path());
    let said = |error: smelt::Error| error.chain();
    let mut worst = 0.0_f32;
    let want = case.tensor("out.latents").unwrap().to_f32_vec();
    let largest = want.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let mut want = want.as_slice();
    for prompt_idx in 0..case.prompts().len() {
        let (mut options, request) = ask::ask(case, prompt_idx)?;
        options.controlnets = place::control_nets(golden, case).into_iter().map(smelt::Source::from).collect();
        let mut pipeline = smelt::open(&place).map_err(said)?.pipeline(&options).map_err(said)?;
        let recorded = case.source(prompt_idx);
        let mut source: Box<dyn RandomSource> = Box::new(recorded);
        let drawing = pipeline.draw_from(&mut source, &request, &Stop::never(), &mut Unwatched).map_err(said)?;
        for (image_idx, picture) in drawing.pictures.iter().enumerate() {
            let got = picture.latents.to_f32_vec();
            let (own, rest) = want.split_at_checked(got.len()).ok_or("more latents than recorded")?;
            if case.is_paired(prompt_idx, image_idx) {
                worst = worst.max(difference(own, &got) / largest / case.tolerance);
            }
            want = rest;
        }
        if let Some(whole) = case.tensor("out.pil") {
            worst = worst.max(levels_apart(whole, &drawing.pictures[0].image) / LEVELS);
        }
        if let Some(decoded) = case.tensor("out.image").filter(|_| prompt_idx == 0) {
            worst = worst.max(difference(&decoded.to_f32_vec(), &drawing.pictures[0].decoded.to_f32_vec()) / PICTURE);
        }
    }
    match want {
        [] => Ok(worst),
        rest => Err(format!("{} values of latents were not drawn", rest.len())),
    }
}

fn difference(want: &[f32], got: &[f32]) -> f32 {
    assert_eq!(want.len(), got.len());
    // A NaN is as far away as can be.
    let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
    want.iter().zip(got).map(apart).fold(0.0, |worst, x| if x.is_nan() { f32::INFINITY } else { worst.max(x) })
}

/// Largest difference of a finished picture's bytes.
fn levels_apart(want: &HostTensor, got: &RgbImage) -> f32 {
    assert_eq!(want.shape(), [got.height(), got.width(), 3]);
    let got: Vec<f32> = got.pixels().iter().map(|&v| v.into()).collect();
    difference(&want.to_f32_vec(), &got)
}

/// Draws all cases whose names begin with one of these.
fn check(beginnings: &[&str]) {
    let Some(golden) = testkit::golden() else { return };
    let mut faults = Vec::new();
    for path in paths(&golden) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !beginnings.iter().any(|beginning| name.starts_with(beginning)) || ELSEWHERE.contains(&name) {
            continue;
        }
        let drawn = draw(&golden, &Case::read(&path));
        println!("{name}: {drawn:?}");
        match drawn {
            Ok(share) if share <= 1.0 => {}
            other => faults.push(format!("{name}: {other:?}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn paths(golden: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(golden.join("pipelines")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    paths.sort();
    paths
}

#[test]
fn stable_diffusion_1_and_2() {
    check(&["sd15_", "sd21_"]);
}

#[test]
fn pictures_that_are_guided_or_filled_in() {
    check(&["cn", "inpaint", "outpaint", "tiny-sd15", "mini-sdxl-controlnet"]);
}

#[test]
fn latent_consistency() {
    check(&["lcm", "tiny-lcm"]);
}

#[test]
fn stable_diffusion_xl() {
    check(&["sdxl", "mini-sdxl_", "refiner"]);
}

/// Packages in half precision, of a recorded checkpoint, and perhaps with a refiner beside it, for pictures of 64x64.
fn packages(golden: &Path, case: &Case, refiner: Option<&Case>, dir: &Path) -> std::path::PathBuf {
    let place = |case: &Case, name: &str| place::checkpoint(golden, case, &dir.join(name));
    let refiner = refiner.map(|case| place(case, "refiner"));
    let conversion = Conversion {
        sizes: Sizes { size: vec!["64x64".parse().unwrap()], ..Sizes::default() },
        refiner: refiner.map(Into::into),
        ..Conversion::default()
    };
    let to = dir.join("packages");
    let opened = smelt::open(place(case, "base")).unwrap();
    let report = opened.plan_conversion(&to, &conversion).unwrap().run(&mut Unwatched).unwrap();
    assert!(report.files.iter().any(|name| name == "tokenizer_2/tokenizer_config.json"), "{:?}", report.files);
    to
}

/// A picture from packages, and how far it is from the recorded one, in decibels.
fn from_packages(packages: &Path, noise: &Case, want: &Case, request: &Request, options: &PipelineOptions) -> f64 {
    let mut pipeline = smelt::open(packages.to_owned()).unwrap().pipeline(options).unwrap();
    assert!(pipeline.warnings().is_empty(), "{:?}", pipeline.warnings());
    let mut source: Box<dyn RandomSource> = Box::new(noise.source(0));
    let drawing = pipeline.draw_from(&mut source, request, &Stop::never(), &mut Unwatched).unwrap();
    let recorded = want.tensor("out.image").unwrap().to_f32_vec();
    testkit::psnr(&recorded, &drawing.pictures[0].decoded.to_f32_vec())
}

#[test]
fn packages_of_xl_draw_in_half_precision_what_was_recorded() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let case = |name: &str| Case::read(&golden.join(format!("pipelines/{name}.safetensors")));
    let (base, first, last) = (case("sdxl_no_negative"), case("sdxl_base_to_0.7"), case("sdxl_refiner_from_0.7"));
    let packages = packages(&golden, &base, Some(&last), dir.path());
    let (_, alone) = ask::ask(&base, 0).unwrap();
    let (_, turns) = ask::ask(&first, 0).unwrap();
    let turns = Request { denoising_end: None, refiner_start: Some(0.7), ..turns };
    for low_memory in [false, true] {
        let plain = PipelineOptions { low_memory, ..PipelineOptions::default() };
        let ratio = from_packages(&packages, &base, &base, &alone, &plain);
        let refiner = Some(packages.clone().into());
        let refined = from_packages(&packages, &first, &last, &turns, &PipelineOptions { refiner, ..plain });
        println!("low memory {low_memory}: {ratio:.1} dB, refined {refined:.1} dB");
        assert!(ratio >= 35.0 && refined >= 35.0, "{ratio} dB, refined {refined} dB");
    }
}

#[test]
fn stable_diffusion_3() {
    check(&["sd3", "tiny-sd3"]);
}
