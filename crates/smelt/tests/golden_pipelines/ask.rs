//! A recorded call in the words of the library.

use serde_json::Value;
use smelt::image::RgbImage;
use smelt::{Control, ControlPicture, HostTensor, PictureSize, PipelineOptions, Precision, Request, Sizes, Start};

use super::case::{Case, texts};

/// What is loaded for a case, and what is asked for of one of its prompts; or what of the call has no words yet.
pub(super) fn ask(case: &Case, prompt_idx: usize) -> Result<(PipelineOptions, Request), String> {
    let mut request = Request { controls: controls(case), ..Request::default() };
    let (mut width, mut height, mut strength) = (None, None, 0.8);
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
            "strength" => strength = number(),
            "control_image" | "controlnet_conditioning_scale" | "control_guidance_start" | "control_guidance_end" => {}
            "image" if !request.controls.is_empty() && !case.call.contains_key("control_image") => {}
            "image" if case.pipeline.ends_with("Img2ImgPipeline") => {
                let image = picture(case, "in.image").ok_or("a list of pictures")?;
                request.start = Some(Start { image, file: "image".into(), strength });
            }
            other => return Err(format!("{other} of {}", case.pipeline)),
        }
    }
    if let Some(start) = &mut request.start {
        start.strength = strength;
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
    let pictures = names.into_iter().filter_map(|name| picture(case, name).or_else(|| planes(case, name)));
    pictures.enumerate().map(control).collect()
}

/// A picture that was recorded as a ControlNet takes it: planes of bytes over 255.
fn planes(case: &Case, name: &str) -> Option<RgbImage> {
    let tensor: &HostTensor = case.tensor(name)?;
    let &[1, 3, height, width] = tensor.shape() else { return None };
    let (values, n) = (tensor.to_f32_vec(), height * width);
    let bytes = (0..3 * n).map(|i| (values[i % 3 * n + i / 3] * 255.0).round() as u8).collect();
    Some(RgbImage::new(width, height, bytes).unwrap())
}

/// A recorded picture: bytes, rows by columns by 3.
fn picture(case: &Case, name: &str) -> Option<RgbImage> {
    let tensor: &HostTensor = case.tensor(name)?;
    let &[height, width, 3] = tensor.shape() else { return None };
    let bytes = tensor.to_f32_vec().into_iter().map(|x| x as u8).collect();
    Some(RgbImage::new(width, height, bytes).unwrap())
}
