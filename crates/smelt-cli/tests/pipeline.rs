//! The whole way, prompt to picture, against diffusers: same start, same steps, same picture.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its table")]

use host_tensor::HostTensor;
use sd_convert::{AttentionLayout, Checkpoint, Options, Precision, Role, convert};
use sd_engines::MilEngine;
use sd_runtime::{
    Part,
    pipeline::{DiffusionPipeline, GenerateOptions, Models, PipelineConfig},
    rng::{NumpyRandom, RandomSource},
};
use std::{collections::BTreeMap, ops::ControlFlow, path::Path};
use testkit::{load_metadata, load_safetensors, psnr};

/// The demo model, drawn by diffusers.
const DEMO: &str = "sd-demo_pndm20";
/// A checkpoint of small random weights, likewise.
const TINY: &str = "tiny-sd15_pndm5";

/// A recorded run of diffusers.
struct Golden {
    name: &'static str,
    prompts: Vec<String>,
    seed: u32,
    steps: usize,
    guidance_scale: f32,
    tensors: BTreeMap<String, HostTensor>,
}

impl Golden {
    /// What the file says of itself, and its tensors: `0.start`, `0.latents`, `0.image`, `1.start`, ….
    fn read(golden: &Path, name: &'static str) -> Self {
        let path = golden.join("pipelines").join(format!("{name}.safetensors"));
        let said = load_metadata(&path);
        let value = |key: &str| said.get(key).unwrap_or_else(|| panic!("{name} does not say its {key}")).as_str();
        assert_eq!((value("negative_prompt"), value("scheduler")), ("", "PNDMScheduler"), "{name}");
        Self {
            name,
            prompts: value("prompts").lines().map(str::to_owned).collect(),
            seed: value("seed").parse().unwrap(),
            steps: value("steps").parse().unwrap(),
            guidance_scale: value("guidance").parse().unwrap(),
            tensors: load_safetensors(&path),
        }
    }
}

fn pipeline(checkpoint: &Path, options: &Options) -> DiffusionPipeline {
    let ckpt = Checkpoint::open(checkpoint).unwrap();
    let engine = |role| -> (Part, Box<dyn sd_runtime::Engine>) {
        let converted = convert(&ckpt, role, options).unwrap();
        let engine = MilEngine::from_program(&converted.program, sd_engines::CpuOptions::default()).unwrap();
        (role.into(), Box::new(engine))
    };
    let models = Models::from([Role::TextEncoder, Role::UNet, Role::VaeDecoder].map(engine));
    DiffusionPipeline::new(models, PipelineConfig::from_dir(checkpoint).unwrap()).unwrap()
}

/// Draws the first golden prompts and returns the worst PSNR of final latents and decoded pictures.
#[track_caller]
fn worst_psnr(golden: &Golden, prompts: usize, checkpoint: &Path, options: &Options) -> (f64, f64) {
    let mut drawing = pipeline(checkpoint, options);
    let mut random: Box<dyn RandomSource> = Box::new(NumpyRandom::new(golden.seed));
    let (mut latents, mut pictures) = (f64::INFINITY, f64::INFINITY);
    for (i, prompt) in golden.prompts.iter().take(prompts).enumerate() {
        let options = GenerateOptions {
            prompt: prompt.clone(),
            steps: golden.steps,
            guidance_scale: golden.guidance_scale,
            ..GenerateOptions::default()
        };
        let drawn = drawing
            .generate_from(&mut random, &options, &sd_runtime::Stop::never(), &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let picture = &drawn.images[0];
        let want = |what: &str| golden.tensors[&format!("{i}.{what}")].to_f32_vec();
        latents = latents.min(psnr(&want("latents"), &picture.latents.to_f32_vec()));
        pictures = pictures.min(psnr(&want("image"), &picture.decoded.to_f32_vec()));
    }
    println!(
        "{} {:?} {:?}: latents {latents:.1} dB, pictures {pictures:.1} dB",
        golden.name, options.precision, options.attention
    );
    (latents, pictures)
}

#[test]
fn pictures_in_f32_are_those_of_diffusers() {
    let Some(golden) = testkit::golden() else { return };
    let options = Options { precision: Some(Precision::Float32), ..Options::default() };
    for (name, checkpoint) in [(DEMO, testkit::demo()), (TINY, golden.join("checkpoints/tiny-sd15"))] {
        let (latents, pictures) = worst_psnr(&Golden::read(&golden, name), usize::MAX, &checkpoint, &options);
        assert!(latents >= 60.0 && pictures >= 50.0, "{name}: {latents:.1} and {pictures:.1} dB");
    }
}

#[test]
fn every_layout_in_f16_draws_the_same_pictures() {
    let Some(golden) = testkit::golden() else { return };
    let recorded = Golden::read(&golden, DEMO);
    for attention in [AttentionLayout::Original, AttentionLayout::SplitEinsum, AttentionLayout::SplitEinsumV2] {
        let options = Options { attention, ..Options::default() };
        let (_, pictures) = worst_psnr(&recorded, 2, &testkit::demo(), &options);
        assert!(pictures >= 35.0, "{attention:?}: {pictures:.1} dB");
    }
}
