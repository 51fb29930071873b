//! Smelt: the text `smelt`, an object with everything that made the picture.

use serde_json::{Map, Value};

use crate::field::Field;
use crate::json::{self, Table};
use crate::made::{Control, Made};
use crate::tool::Tool;

const TABLE: Table = &[
    ("software", Field::Version),
    ("model", Field::Model),
    ("model_hash", Field::ModelHash),
    ("vae", Field::Vae),
    ("prompt", Field::Prompt),
    ("prompt_2", Field::Prompt2),
    ("negative_prompt", Field::Negative),
    ("negative_prompt_2", Field::Negative2),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("guidance_scale", Field::Guidance),
    ("guidance_rescale", Field::GuidanceRescale),
    ("emphasis", Field::Emphasis),
    ("scheduler", Field::Sampler),
    ("random", Field::Rng),
    ("width", Field::Width),
    ("height", Field::Height),
    ("eta", Field::Eta),
    ("variation.seed", Field::VariationSeed),
    ("variation.strength", Field::VariationStrength),
    ("refiner.model", Field::Refiner),
    ("refiner.start", Field::RefinerStart),
    ("start.file", Field::InitImage),
    ("start.strength", Field::Strength),
    ("start.fit", Field::ResizeMode),
    ("start.mask", Field::Mask),
    ("start.mask_blur", Field::MaskBlur),
    ("start.only_masked", Field::MaskPadding),
    ("start.image_guidance", Field::ImageGuidance),
    ("hires.strength", Field::Strength),
    ("hires.steps", Field::HiresSteps),
    ("hires.upscaler", Field::HiresUpscaler),
];

/// Whether an object is one of Smelt's.
pub(crate) fn is_it(object: &Map<String, Value>) -> bool {
    object.get("software").and_then(Value::as_str).is_some_and(|software| software.starts_with("smelt"))
}

/// Reads the object.
pub(crate) fn parse(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::Smelt);
    // Layers that are left out: AUTOMATIC1111 counts the last one itself.
    if let Some(n) = object.get("clip_skip").and_then(Value::as_u64) {
        made.clip_skip = Some(n.saturating_add(1));
        object.shift_remove("clip_skip");
    }
    // The first of its seed is the only one that another tool draws.
    if object.get("image_idx").and_then(Value::as_u64) == Some(0) {
        object.shift_remove("image_idx");
    }
    for entry in json::take_array(&mut object, "controls") {
        made.controls.push(control(entry));
    }
    if let Some(Value::Object(hires)) = object.get_mut("hires") {
        let side = |key: &str| hires.get(key).and_then(Value::as_u64);
        if let (Some(width), Some(height)) = (side("width"), side("height")) {
            made.hires.get_or_insert_default().size = Some(crate::made::Size { width, height });
            hires.shift_remove("width");
            hires.shift_remove("height");
        }
    }
    if let Some(Value::Object(start)) = object.get_mut("start") {
        if start.shift_remove("mask_inverted") == Some(Value::Bool(true)) {
            made.inpaint.get_or_insert_default().mode = Some("Inpaint not masked".to_owned());
        }
        if start.contains_key("only_masked") {
            made.inpaint.get_or_insert_default().area = Some("Only masked".to_owned());
        }
    }
    json::fill(&mut made, object, TABLE);
    made
}

/// A picture that guided.
fn control(mut entry: Value) -> Control {
    Control {
        model: json::take_text(&mut entry, &["controlnet"]),
        module: json::take_text(&mut entry, &["preprocess"]),
        image: json::take_text(&mut entry, &["file"]),
        weight: json::take_number(&mut entry, "weight"),
        start: json::take_number(&mut entry, "start"),
        end: json::take_number(&mut entry, "end"),
        other: json::rest(entry),
    }
}
