//! Tools that write one flat object: SwarmUI, Fooocus and NovelAI.

use serde_json::{Map, Value};

use crate::field::Field;
use crate::json::{self, Table};
use crate::made::{Lora, Made};
use crate::tool::Tool;

const SWARM: Table = &[
    ("swarm_version", Field::Version),
    ("prompt", Field::Prompt),
    ("negativeprompt", Field::Negative),
    ("model", Field::Model),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("cfgscale", Field::Guidance),
    ("fluxguidancescale", Field::DistilledGuidance),
    ("width", Field::Width),
    ("height", Field::Height),
    ("sampler", Field::Sampler),
    ("scheduler", Field::Schedule),
    ("vae", Field::Vae),
    ("variationseed", Field::VariationSeed),
    ("variationseedstrength", Field::VariationStrength),
    ("initimagecreativity", Field::Strength),
    ("refinerupscale", Field::HiresScale),
    ("refinerupscalemethod", Field::HiresUpscaler),
    ("refinersteps", Field::HiresSteps),
];
const FOOOCUS: Table = &[
    ("version", Field::Version),
    ("prompt", Field::Prompt),
    ("negative_prompt", Field::Negative),
    ("base_model", Field::Model),
    ("base_model_hash", Field::ModelHash),
    ("vae", Field::Vae),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("guidance_scale", Field::Guidance),
    ("sampler", Field::Sampler),
    ("scheduler", Field::Schedule),
    ("refiner_model", Field::Refiner),
    ("refiner_switch", Field::RefinerStart),
    ("clip_skip", Field::ClipSkip),
];
const NOVEL: Table = &[
    ("prompt", Field::Prompt),
    ("uc", Field::Negative),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("scale", Field::Guidance),
    ("cfg_rescale", Field::GuidanceRescale),
    ("width", Field::Width),
    ("height", Field::Height),
    ("sampler", Field::Sampler),
    ("noise_schedule", Field::Schedule),
    ("strength", Field::Strength),
];

/// Whether an object is one of SwarmUI's.
pub(crate) fn is_swarm(object: &Map<String, Value>) -> bool {
    object.contains_key("sui_image_params")
}

/// Reads SwarmUI's; what stands beside the settings is kept.
pub(crate) fn parse_swarm(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::SwarmUi);
    match object.shift_remove("sui_image_params") {
        Some(Value::Object(mut settings)) => {
            let weights = json::take_array(&mut settings, "loraweights");
            for (idx, name) in json::take_array(&mut settings, "loras").iter().enumerate() {
                let said = weights.get(idx).map(json::text);
                let weight = said.as_deref().and_then(|weight| crate::field::number(weight).ok());
                if let Some(said) = said.filter(|_| weight.is_none()) {
                    made.keep_wrong(format!("LoRA {}", json::text(name)), said, "its weight is not a number");
                }
                made.add_lora(Lora { name: json::text(name), weight, ..Lora::default() });
            }
            json::fill(&mut made, settings, SWARM);
        }
        other => json::keep(&mut made, "sui_image_params", other.unwrap_or_default()),
    }
    json::keep(&mut made, "", Value::Object(object));
    made
}

/// Whether an object is one of Fooocus'.
pub(crate) fn is_fooocus(object: &Map<String, Value>) -> bool {
    object.contains_key("base_model") && object.contains_key("guidance_scale")
}

/// Reads Fooocus'.
pub(crate) fn parse_fooocus(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::Fooocus);
    for lora in json::take_array(&mut object, "loras") {
        match lora {
            Value::Array(parts) if parts.first().is_some_and(Value::is_string) => {
                let name = json::text(&parts[0]);
                let hash = parts.get(2).and_then(Value::as_str).map(str::to_owned);
                made.add_lora(Lora { name, weight: parts.get(1).and_then(Value::as_f64), hash, ..Lora::default() });
            }
            other => json::keep(&mut made, "loras", other),
        }
    }
    if let Some(size) = object.get("resolution").and_then(Value::as_str) {
        let size = size.trim_matches(['(', ')']).replace(", ", "x");
        object.shift_remove("resolution");
        made.put(Field::Size, "resolution", &size);
    }
    // No refiner, which would have begun somewhere.
    if object.get("refiner_model").and_then(Value::as_str) == Some("None") {
        object.shift_remove("refiner_model");
        json::keep(&mut made, "refiner_switch", object.shift_remove("refiner_switch").unwrap_or_default());
    }
    json::fill(&mut made, object, FOOOCUS);
    made
}

/// Whether an object is one of NovelAI's.
pub(crate) fn is_novel(object: &Map<String, Value>) -> bool {
    object.contains_key("uc")
        && object.contains_key("scale")
        && object.contains_key("sampler")
        && !object.contains_key("c")
}

/// Reads NovelAI's; older ones have the prompt beside it.
pub(crate) fn parse_novel(object: Map<String, Value>, description: Option<&str>) -> Made {
    let mut made = Made::by(Tool::NovelAi);
    json::fill(&mut made, object, NOVEL);
    if let Some(description) = description.filter(|_| made.prompt.is_none()) {
        made.put(Field::Prompt, "Description", description);
    }
    made
}
