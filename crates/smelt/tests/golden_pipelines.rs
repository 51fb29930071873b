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
use smelt::random::RandomSource;
use smelt::{Stop, Unwatched};

/// Largest difference of a decoded picture, of values from −1 to 1.
const PICTURE: f32 = 2e-3;
/// Runs of other tests: `smelt-cli/tests/pipeline.rs` draws the model in the box.
const ELSEWHERE: [&str; 3] = ["sd-demo_pndm20", "sd-emoji_pndm20", "tiny-sd15_pndm5"];

/// Runs that cannot be drawn yet.
const NOT_YET: &[&str] = &[
    // Guidance, CLIP's layers, noise levels and latent consistency.
    "lcm_guidance_embedding",
    "lcm_pipeline_batch",
    "sd15_clip_skip1",
    "sd15_clip_skip2",
    "sd15_custom_sigmas",
    "sd15_custom_timesteps",
    "sd15_ddim_eta0.6",
    "sd15_guidance_rescale",
    "sd21_clip_skip1",
    "sd21_zsnr_rescale",
    "sd3_clip_skip1",
    "sdxl_clip_skip1",
    "sdxl_guidance_rescale",
    "tiny-lcm_4",
    // Pictures to begin with, and masks.
    "inpaint9_1.0",
    "inpaint9_guidance1",
    "inpaint9_padding_crop",
    "inpaint9_resize",
    "outpaint9",
    "sd15_img2img_batch",
    "sd15_img2img_odd_input",
    "sd15_inpaint4_0.6",
    "sd15_inpaint4_1.0",
    "sd15_inpaint4_euler_a",
    "sdxl_inpaint4_0.8",
    "tiny-sd15-inpaint_pndm5",
    // ControlNets.
    "cn_inpaint",
    "mini-sdxl-controlnet_euler5",
    "sdxl_cn",
    // Stable Diffusion XL.
    "mini-sdxl_euler5",
    "mini-sdxl_euler5_no_negative",
    "refiner_img2img_aesthetic",
    "sdxl_base_to_0.7",
    "sdxl_batch_x2",
    "sdxl_empty_negative",
    "sdxl_img2img_0.3",
    "sdxl_img2img_0.75",
    "sdxl_img2img_1.0",
    "sdxl_lightning_4",
    "sdxl_negative_sizes",
    "sdxl_no_negative",
    "sdxl_prompt_2",
    "sdxl_refiner_from_0.7",
    "sdxl_sizes_nonsquare",
    "sdxl_turbo_1",
    "sdxl_turbo_4",
    // Stable Diffusion 3.
    "sd3",
    "sd3_img2img",
    "sd3_no_cfg",
    "sd3_prompts_nonsquare",
    "sd3_skip_layer",
    "tiny-sd35-large_flow5",
    "tiny-sd35-medium_flow5",
    "tiny-sd3_flow5",
    "tiny-sd3_flow5_no_t5",
    "tiny-sd3_flow5_t5_77",
];

/// Draws a case and says how far it is from what was recorded, as a share of what is allowed.
fn draw(golden: &Path, case: &Case) -> Result<f32, String> {
    let dir = tempfile::tempdir().unwrap();
    let place = place::checkpoint(golden, case, dir.path());
    let said = |error: smelt::Error| chain(&error);
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
        for picture in &drawing.pictures {
            let got = picture.latents.to_f32_vec();
            let (own, rest) = want.split_at_checked(got.len()).ok_or("more latents than recorded")?;
            worst = worst.max(difference(own, &got) / largest / case.tolerance);
            want = rest;
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

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

fn difference(want: &[f32], got: &[f32]) -> f32 {
    assert_eq!(want.len(), got.len());
    // A NaN is as far away as can be.
    let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
    want.iter().zip(got).map(apart).fold(0.0, |worst, x| if x.is_nan() { f32::INFINITY } else { worst.max(x) })
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
            Ok(share) if share <= 1.0 => assert!(!NOT_YET.contains(&name), "{name} is drawn: NOT_YET need not name it"),
            _ if NOT_YET.contains(&name) => {}
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

#[test]
fn stable_diffusion_3() {
    check(&["sd3", "tiny-sd3"]);
}
