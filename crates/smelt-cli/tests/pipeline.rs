//! The whole way, prompt to picture, against diffusers: same start, same steps, same picture.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

use sd_convert::{AttentionLayout, Checkpoint, Options, Precision, Role, convert};
use sd_engines::MilEngine;
use sd_runtime::{
    pipeline::{GenerateOptions, Models, PipelineConfig, TextToImage},
    rng::NumpyRandom,
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};
use testkit::{load_safetensors, psnr};

/// A recorded run of diffusers.
struct Golden {
    file: &'static str,
    prompts: &'static [&'static str],
    steps: usize,
    guidance_scale: f32,
}

const EMOJI: Golden = Golden {
    file: "sd-emoji_pndm20",
    prompts: &["a red heart", "rocket", "penguin", "hamburger"],
    steps: 20,
    guidance_scale: 4.0,
};
const TINY: Golden = Golden {
    file: "tiny-sd15_pndm5",
    prompts: &["a photo of an astronaut riding a horse on mars"],
    steps: 5,
    guidance_scale: 7.5,
};

fn pipeline(checkpoint: &Path, options: &Options) -> TextToImage {
    let ckpt = Checkpoint::open(checkpoint).unwrap();
    let engine = |role| -> (Role, Box<dyn sd_runtime::Engine>) {
        let converted = convert(&ckpt, role, options).unwrap();
        let engine = MilEngine::from_program(&converted.program, sd_engines::CpuOptions::default()).unwrap();
        (role, Box::new(engine))
    };
    let models = Models::from([Role::TextEncoder, Role::UNet, Role::VaeDecoder].map(engine));
    TextToImage::new(models, PipelineConfig::from_dir(checkpoint).unwrap()).unwrap()
}

/// Draws the golden prompts and returns the worst PSNR of final latents and decoded pictures.
#[track_caller]
fn worst_psnr(golden_dir: &Path, golden: &Golden, prompts: usize, checkpoint: &Path, options: &Options) -> (f64, f64) {
    let tensors = load_safetensors(golden_dir.join("pipelines").join(format!("{}.safetensors", golden.file)));
    let mut drawing = pipeline(checkpoint, options);
    let mut random = NumpyRandom::new(93);
    let (mut latents, mut pictures) = (f64::INFINITY, f64::INFINITY);
    for (i, prompt) in golden.prompts.iter().take(prompts).enumerate() {
        let options = GenerateOptions {
            prompt: (*prompt).to_owned(),
            steps: golden.steps,
            guidance_scale: golden.guidance_scale,
            ..GenerateOptions::default()
        };
        let drawn = drawing
            .generate_from(&mut random, &options, &sd_runtime::Stop::never(), &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let picture = &drawn.images[0];
        let want = |what: &str| tensors[&format!("{i}.{what}")].to_f32_vec();
        latents = latents.min(psnr(&want("latents"), &picture.latents.to_f32_vec()));
        pictures = pictures.min(psnr(&want("image"), &picture.decoded.to_f32_vec()));
    }
    println!(
        "{} {:?} {:?}: latents {latents:.1} dB, pictures {pictures:.1} dB",
        golden.file, options.precision, options.attention
    );
    (latents, pictures)
}

/// The checkpoint of [`EMOJI`], the first demo model, beside the golden data.
#[allow(clippy::print_stderr, reason = "a skipped test must be seen to be skipped")]
fn first_demo(golden: &Path) -> Option<PathBuf> {
    let place = golden.join("../demo/sd-emoji");
    if !place.is_dir() {
        eprintln!("skipped: {} is not there", place.display());
        return None;
    }
    Some(place)
}

#[test]
fn pictures_in_f32_are_those_of_diffusers() {
    let Some(golden) = testkit::golden() else { return };
    let options = Options { precision: Precision::Float32, ..Options::default() };
    let tiny = golden.join("checkpoints/tiny-sd15");
    let emoji = first_demo(&golden).map(|place| (&EMOJI, 4, place));
    for (run, prompts, checkpoint) in emoji.into_iter().chain([(&TINY, 1, tiny)]) {
        let (latents, pictures) = worst_psnr(&golden, run, prompts, &checkpoint, &options);
        assert!(latents >= 60.0 && pictures >= 50.0, "{}: {latents:.1} and {pictures:.1} dB", run.file);
    }
}

#[test]
fn every_layout_in_f16_draws_the_same_pictures() {
    let Some(golden) = testkit::golden() else { return };
    let Some(checkpoint) = first_demo(&golden) else { return };
    for attention in [AttentionLayout::Original, AttentionLayout::SplitEinsum, AttentionLayout::SplitEinsumV2] {
        let options = Options { attention, ..Options::default() };
        let (_, pictures) = worst_psnr(&golden, &EMOJI, 2, &checkpoint, &options);
        assert!(pictures >= 35.0, "{attention:?}: {pictures:.1} dB");
    }
}
