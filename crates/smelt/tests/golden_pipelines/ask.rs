//! A recorded call in the words of the library.

use smelt::image::{Fit, GreyImage, RgbImage, Size};
use smelt::{HostTensor, PictureSize, PipelineOptions, Precision, Request, Sizes, Start, StartMask};

use super::case::{Case, texts};

/// What is loaded for a case, and what is asked for of one of its prompts; or what of the call has no words yet.
pub(super) fn ask(case: &Case, prompt_idx: usize) -> Result<(PipelineOptions, Request), String> {
    let mut request = Request::default();
    let (mut width, mut height) = (None, None);
    request.start = start(case, prompt_idx);
    for (key, value) in &case.call {
        let text = || texts(value).swap_remove(if value.is_array() { prompt_idx } else { 0 });
        let number = || value.as_f64().unwrap();
        match key.as_str() {
            "prompt" => request.prompt = text(),
            "negative_prompt" if value.is_null() => {}
            "negative_prompt" => request.negative_prompt = text(),
            "guidance_scale" => request.guidance = number() as f32,
            "num_inference_steps" => request.steps = value.as_u64().unwrap() as usize,
            "num_images_per_prompt" => request.count = value.as_u64().unwrap() as usize,
            "width" => width = value.as_u64(),
            "height" => height = value.as_u64(),
            "strength" | "image" | "mask_image" | "padding_mask_crop" if begins_with_picture(case) => {}
            other => return Err(format!("{other} of {}", case.pipeline)),
        }
    }
    // Guidance that is off leaves the negative prompt out, which the library refuses to do silently.
    if request.guidance <= 1.0 {
        request.negative_prompt.clear();
    }
    let size = match (width, height, &request.start) {
        (Some(width), Some(height), _) => format!("{width}x{height}"),
        (_, _, Some(start)) => format!("{}x{}", start.image.width() / 8 * 8, start.image.height() / 8 * 8),
        _ => return Err("no size".into()),
    };
    let size: PictureSize = size.parse().unwrap();
    let options = PipelineOptions {
        sizes: Sizes { size: vec![size], ..Sizes::default() },
        precision: Some(Precision::Float32),
        with_picture: request.start.is_some(),
        safety_check: false,
        ..PipelineOptions::default()
    };
    Ok((options, request))
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
