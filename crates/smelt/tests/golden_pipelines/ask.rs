//! A recorded call in the words of the library.

use serde_json::Value;
use smelt::image::{Fit, GreyImage, RgbImage, Size};
use smelt::{
    Blocks, Control, ControlPicture, Corner, Emphasis, HostTensor, PictureSize, PipelineOptions, Precision, Request,
    Sizes, SkipLayers, Start, StartMask,
};

use super::case::{Case, texts};

/// What is loaded for a case, and what is asked for of one of its prompts; or what of the call has no words yet.
pub(super) fn ask(case: &Case, prompt_idx: usize) -> Result<(PipelineOptions, Request), String> {
    // diffusers has no language for prompts.
    let mut request = Request { controls: controls(case), emphasis: Emphasis::Plain, ..Request::default() };
    let (mut width, mut height, mut text_length) = (None, None, None);
    request.start = start(case, prompt_idx);
    for (key, value) in &case.call {
        let text = || texts(value).swap_remove(if value.is_array() { prompt_idx } else { 0 });
        let number = || value.as_f64().unwrap();
        match key.as_str() {
            "prompt" => request.prompt = text(),
            "negative_prompt" if value.is_null() => {}
            "negative_prompt" => request.negative_prompt = Some(text()),
            "prompt_2" => request.prompt_2 = Some(text()),
            "negative_prompt_2" => request.negative_prompt_2 = Some(text()),
            "denoising_start" => request.denoising_start = value.as_f64(),
            "denoising_end" => request.denoising_end = value.as_f64(),
            key if tell(&mut request, key, value) => {}
            "guidance_scale" => request.guidance = number() as f32,
            "num_inference_steps" => request.steps = value.as_u64().unwrap() as usize,
            "num_images_per_prompt" => request.count = value.as_u64().unwrap() as usize,
            "guidance_rescale" => request.guidance_rescale = number() as f32,
            "max_sequence_length" => text_length = value.as_u64().map(|n| n as usize),
            "clip_skip" => {
                request.clip_skip = value.as_u64().unwrap() as usize;
                // As diffusers has it.
                request.negative_clip_skip = Some(0);
            }
            "skip_guidance_layers" => skip_layers(&mut request).layers = serde_json::from_value(value.clone()).unwrap(),
            "skip_layer_guidance_scale" => skip_layers(&mut request).scale = number() as f32,
            "skip_layer_guidance_start" => skip_layers(&mut request).start = number(),
            "skip_layer_guidance_stop" => skip_layers(&mut request).stop = number(),
            "timesteps" => request.timesteps = Some(numbers(value)),
            "sigmas" => request.sigmas = Some(numbers(value)),
            "eta" => request.eta = Some(number()),
            "original_inference_steps" => request.original_steps = Some(value.as_u64().unwrap() as usize),
            "width" => width = value.as_u64(),
            "height" => height = value.as_u64(),
            "image" if latents(case).is_some() => request.latents.extend(latents(case)),
            "control_image" | "controlnet_conditioning_scale" | "control_guidance_start" | "control_guidance_end" => {}
            "image" if !request.controls.is_empty() && !case.call.contains_key("control_image") => {}
            "strength" | "image" | "mask_image" | "padding_mask_crop" if begins_with_picture(case) => {}
            other => return Err(format!("{other} of {}", case.pipeline)),
        }
    }
    // Guidance that is off, or a part of the model, leaves the negative prompt out, which the library refuses to do
    // silently.
    if request.guidance <= 1.0 || case.checkpoint.contains("lcm") {
        request.negative_prompt = None;
    }
    let size = match (width, height, &request.start) {
        (Some(width), Some(height), _) => format!("{width}x{height}"),
        (_, _, Some(start)) => format!("{}x{}", start.image.width() / 8 * 8, start.image.height() / 8 * 8),
        _ if !request.latents.is_empty() => {
            let shape = request.latents[0].shape();
            format!("{}x{}", shape[3] * 8, shape[2] * 8)
        }
        _ => return Err("no size".into()),
    };
    let size: PictureSize = size.parse().unwrap();
    let options = PipelineOptions {
        sizes: Sizes { size: vec![size], ..Sizes::default() },
        precision: Some(Precision::Float32),
        with_picture: request.start.is_some(),
        text_length,
        clip_skips: vec![request.clip_skip],
        skip_layers: request.skip_layers.iter().map(|skip| skip.layers).collect(),
        safety_check: false,
        ..PipelineOptions::default()
    };
    Ok((options, request))
}

/// Layers that a recorded run skipped: those of Stable Diffusion 3.5 medium until it says which.
fn skip_layers(request: &mut Request) -> &mut SkipLayers {
    request.skip_layers.get_or_insert_with(|| SkipLayers::new(Blocks::new(&[7, 8, 9]).unwrap()))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// What of a call Stable Diffusion XL is told of the picture; diffusers has heights and tops first.
fn tell(request: &mut Request, key: &str, value: &Value) -> bool {
    let (key, told) = match key.strip_prefix("negative_") {
        Some(key) => (key, &mut request.negative_conditions),
        None => (key, &mut request.conditions),
    };
    let pair = || [0, 1].map(|i| value[i].as_u64().unwrap() as usize);
    let size = || {
        let [height, width] = pair();
        Some(Size { width, height })
    };
    match key {
        "original_size" => told.original_size = size(),
        "target_size" => told.target_size = size(),
        "crops_coords_top_left" => {
            let [top, left] = pair();
            told.crop = Some(Corner { left, top });
        }
        "aesthetic_score" => told.aesthetic_score = value.as_f64().map(|score| score as f32),
        _ => return false,
    }
    true
}

/// Latents that a recorded run went on from.
fn latents(case: &Case) -> Option<HostTensor> {
    case.tensor("in.image").filter(|image| image.shape().len() == 4).cloned()
}

/// Pipelines whose `image` is the picture to begin with.
fn begins_with_picture(case: &Case) -> bool {
    ["Img2Img", "Inpaint"].iter().any(|what| case.pipeline.contains(what))
}

/// The picture to begin with, its mask, and how much of it changes.
fn start(case: &Case, prompt_idx: usize) -> Option<Start> {
    if !begins_with_picture(case) {
        return None;
    }
    let one = picture(case, "in.image").or_else(|| picture(case, &format!("in.image.{prompt_idx}")))?;
    let mask = mask(case).map(|image| StartMask { image, file: "mask".into(), is_inverted: false });
    let default = if mask.is_some() { 1.0 } else { 0.8 };
    let number = |key: &str| case.call.get(key).and_then(serde_json::Value::as_f64);
    Some(Start {
        strength: Some(number("strength").unwrap_or(default)),
        fit: Fit::Stretch,
        mask,
        only_masked: number("padding_mask_crop").map(|pixels| pixels as usize),
        ..Start::new(one, "image")
    })
}

/// The pictures that guide, under whichever name they were recorded.
fn controls(case: &Case) -> Vec<Control> {
    if !case.pipeline.contains("ControlNet") {
        return Vec::new();
    }
    let own = if case.call.contains_key("control_image") { "in.control_image" } else { "in.image" };
    let numbered = ["in.image.0", "in.image.1", "in.control_image", "in.control_image_a", "in.control_image_b"];
    let names = if case.tensor(own).is_some() { vec![own] } else { numbered.to_vec() };
    let each = |key: &str, idx: usize, default: f64| match case.call.get(key) {
        Some(Value::Array(values)) => values[idx].as_f64().unwrap(),
        Some(value) => value.as_f64().unwrap(),
        None => default,
    };
    let control = |(idx, image): (usize, RgbImage)| Control {
        picture: ControlPicture {
            weight: each("controlnet_conditioning_scale", idx, 1.0) as f32,
            start: each("control_guidance_start", idx, 0.0),
            end: each("control_guidance_end", idx, 1.0),
            ..ControlPicture::new(image)
        },
        file: "control".into(),
    };
    let pictures = names.into_iter().filter_map(|name| picture(case, name));
    pictures.enumerate().map(control).collect()
}

/// A recorded picture: bytes, rows by columns by 3; or values of 0 to 1, 1 by 3 by rows by columns.
fn picture(case: &Case, name: &str) -> Option<RgbImage> {
    let tensor: &HostTensor = case.tensor(name)?;
    let values = tensor.to_f32_vec();
    let (width, height, bytes) = match *tensor.shape() {
        [height, width, 3] => (width, height, values.into_iter().map(|x| x as u8).collect()),
        [1, 3, height, width] => {
            let n = width * height;
            let byte = |i: usize| (values[i % 3 * n + i / 3] * 255.0).round() as u8;
            (width, height, (0..3 * n).map(byte).collect())
        }
        _ => return None,
    };
    Some(RgbImage::new(width, height, bytes).unwrap())
}

/// A recorded mask: bytes, rows by columns; or values of 0 and 1, 1 by 1 by rows by columns.
fn mask(case: &Case) -> Option<GreyImage> {
    let tensor = case.tensor("in.mask_image").or_else(|| case.tensor("in.mask"))?;
    let (height, width, scale) = match *tensor.shape() {
        [height, width] => (height, width, 1.0),
        [1, 1, height, width] => (height, width, 255.0),
        _ => return None,
    };
    let bytes = tensor.to_f32_vec().into_iter().map(|x| (x * scale) as u8).collect();
    Some(GreyImage::new(Size { width, height }, bytes).unwrap())
}
