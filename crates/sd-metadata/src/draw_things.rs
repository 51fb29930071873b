//! Draw Things: an object in EXIF's `UserComment`, and the program's name in XMP.

use serde_json::{Map, Value};

use crate::field::Field;
use crate::json::{self, Table};
use crate::made::{Control, Made, Size};
use crate::parameters::split_schedule;
use crate::tool::Tool;

/// Short names first; of the whole configuration (`v2`) what the short ones leave out.
const TABLE: Table = &[
    ("c", Field::Prompt),
    ("uc", Field::Negative),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("scale", Field::Guidance),
    ("sampler", Field::Sampler),
    ("size", Field::Size),
    ("strength", Field::Strength),
    ("model", Field::Model),
    ("mask_blur", Field::MaskBlur),
];
const WHOLE: Table = &[
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("guidanceScale", Field::Guidance),
    ("width", Field::Width),
    ("height", Field::Height),
    ("strength", Field::Strength),
    ("model", Field::Model),
    ("maskBlur", Field::MaskBlur),
    ("clipSkip", Field::ClipSkip),
    ("imageGuidanceScale", Field::ImageGuidance),
    ("guidanceEmbed", Field::DistilledGuidance),
    ("refinerModel", Field::Refiner),
    ("refinerStart", Field::RefinerStart),
];

/// Whether an object is one of Draw Things'.
pub(crate) fn is_it(object: &Map<String, Value>) -> bool {
    object.contains_key("c")
        && ["v2", "seed_mode", "uc", "sampler", "scale"].iter().any(|key| object.contains_key(*key))
}

/// Reads the object.
pub(crate) fn parse(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::DrawThings);
    // How long it took.
    object.shift_remove("profile");
    let whole = object.shift_remove("v2");
    for lora in json::take_array(&mut object, "lora") {
        json::lora(&mut made, lora, &["model", "file"], &["weight"]);
    }
    controls(&mut made, json::take_array(&mut object, "control"));
    json::fill(&mut made, object, TABLE);
    match whole {
        Some(Value::Object(whole)) => configuration(&mut made, whole),
        Some(other) => json::keep(&mut made, "v2", other),
        None => {}
    }
    split_schedule(&mut made);
    made
}

/// The whole configuration.
fn configuration(made: &mut Made, mut whole: Map<String, Value>) {
    for lora in json::take_array(&mut whole, "loras") {
        json::lora(made, lora, &["file", "model"], &["weight"]);
    }
    controls(made, json::take_array(&mut whole, "controls"));
    if whole.get("hiresFix") == Some(&Value::Bool(true)) {
        hires(made, &mut whole);
    }
    json::fill_missing(made, "v2", whole, WHOLE);
}

/// The first pass' size and the second one's strength; the picture has the size that is said elsewhere.
fn hires(made: &mut Made, whole: &mut Map<String, Value>) {
    let side = |key: &str| whole.get(key).and_then(Value::as_u64);
    let (Some(width), Some(height)) = (side("hiresFixWidth"), side("hiresFixHeight")) else { return };
    if width == 0 || height == 0 {
        return;
    }
    let (full_width, full_height) = (side("width"), side("height"));
    let mut full = made.size.take();
    if let (Some(width), Some(height)) = (full_width, full_height) {
        full.get_or_insert(Size { width, height });
    }
    made.size = Some(Size { width, height });
    made.hires.get_or_insert_default().size = full;
    if let Some(strength) = whole.get("hiresFixStrength").and_then(Value::as_f64) {
        made.strength = Some(strength);
        whole.shift_remove("hiresFixStrength");
    }
    for key in ["hiresFix", "hiresFixWidth", "hiresFixHeight", "width", "height"] {
        whole.shift_remove(key);
    }
}

/// ControlNets; shares of the steps are its own words.
fn controls(made: &mut Made, entries: Vec<Value>) {
    for mut entry in entries {
        made.controls.push(Control {
            model: json::take_text(&mut entry, &["file", "model"]),
            weight: json::take_number(&mut entry, "weight"),
            start: json::take_number(&mut entry, "guidanceStart"),
            end: json::take_number(&mut entry, "guidanceEnd"),
            other: json::rest(entry),
            ..Control::default()
        });
    }
}
