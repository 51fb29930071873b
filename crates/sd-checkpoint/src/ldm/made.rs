//! The small files of a folder of diffusers, made for a model in one file.

use std::collections::BTreeMap;

use sd_spec::Role;
use sd_spec::clip_tokenizer;
use serde_json::{Map, Value, json};

use super::derive;
use super::kinds::{KindSpec, MMDIT};
use super::parts::{Contents, Layout, Part};
use super::predict::Predicted;
use super::tensors::Tensors;
use crate::beside::Made;
use crate::{Prediction, Weights};

/// Every file, by name, but for configurations of networks that none describes.
pub(crate) fn files(weights: &Weights, contents: &Contents, predicted: &Predicted) -> BTreeMap<String, Made> {
    let spec = contents.kind.spec();
    let mut files = BTreeMap::new();
    for part in &contents.parts {
        let name = match part.role.spec().stands_alone {
            true => "config.json".to_owned(),
            false => format!("{}/config.json", part.role.spec().folder),
        };
        if let Ok(config) = config(weights, part, spec, predicted) {
            files.insert(name, Made::Json(config));
        }
    }
    let denoiser = contents.parts.iter().find(|part| part.role.is_denoiser());
    if let Some(denoiser) = denoiser {
        let tensors = Tensors::new(weights, denoiser.prefix);
        let channels = CONVOLUTIONS.into_iter().find_map(|key| tensors.dim(key, 1).ok()).unwrap_or_default();
        files.insert("model_index.json".to_owned(), Made::Json(index(spec, &contents.parts, channels)));
        files.insert("scheduler/scheduler_config.json".to_owned(), Made::Json(scheduler(spec, predicted)));
    }
    for (folder, padding) in spec.tokenizers {
        if denoiser.is_some() || contents.parts.iter().any(|part| tokenizer_of(part.role) == Some(folder)) {
            for name in clip_tokenizer::FILES {
                files.insert(format!("{folder}/{name}"), Made::Tokenizer(name, *padding));
            }
        }
    }
    files
}

/// The first convolutions of denoisers, whose input has the channels of the pipeline.
const CONVOLUTIONS: [&str; 4] =
    ["input_blocks.0.0.weight", "x_embedder.proj.weight", "conv_in.weight", "pos_embed.proj.weight"];

/// The folder of the tokenizer that a text encoder of CLIP has.
const fn tokenizer_of(role: Role) -> Option<&'static str> {
    match role {
        Role::TextEncoder => Some("tokenizer"),
        Role::TextEncoder2 => Some("tokenizer_2"),
        _ => None,
    }
}

/// The configuration of a network, by its tensors.
///
/// # Errors
/// For a network that no configuration describes.
pub(crate) fn config(weights: &Weights, part: &Part, spec: &KindSpec, predicted: &Predicted) -> Result<Value, String> {
    let tensors = Tensors::new(weights, part.prefix);
    let mut rules = spec.unet;
    if predicted.prediction == Prediction::Velocity {
        rules.latent_side = spec.latent_side_of_velocity;
    }
    match part.layout {
        Layout::UNet(spelling) => derive::unet(tensors, spelling, &rules),
        Layout::ControlNet(spelling) => derive::control_net(tensors, spelling, &rules),
        Layout::Mmdit(spelling) => derive::mmdit(tensors, spelling, &MMDIT),
        Layout::Vae(spelling) => derive::vae(tensors, spelling, &spec.vae, rules.latent_side),
        Layout::TinyVae(spelling) => derive::tiny(tensors, spelling, part.role),
        Layout::Transformers(rules) => derive::clip_of_transformers(tensors, &rules),
        Layout::OpenClip(rules) => derive::clip_of_open_clip(tensors, &rules),
        Layout::T5 => derive::t5(tensors),
    }
}

/// `model_index.json`.
fn index(spec: &KindSpec, parts: &[Part], channels: usize) -> Value {
    let class = spec.pipelines.iter().find(|(n, _)| *n == channels).or(spec.pipelines.first());
    let mut index = Map::new();
    index.insert("_class_name".to_owned(), class.map(|(_, class)| *class).into());
    let family = spec.family.spec();
    for (entry, value) in spec.index {
        index.insert((*entry).to_owned(), (*value).into());
    }
    for entry in [family.feature_extractor, "image_encoder"] {
        index.insert(entry.to_owned(), json!([null, null]));
    }
    for role in Role::ALL {
        let is_of_family = family.required.contains(&role) || family.optional.contains(&role);
        let part = parts.iter().find(|part| part.role.spec().folder == role.spec().folder);
        if is_of_family {
            let pair = part.map_or(json!([null, null]), |part| pair_of(part.layout));
            index.insert(role.spec().folder.to_owned(), pair);
        }
    }
    for folder in family.tokenizers {
        let is_there = spec.tokenizers.iter().any(|(own, _)| own == folder);
        let pair = if is_there { json!(["transformers", "CLIPTokenizer"]) } else { json!([null, null]) };
        index.insert((*folder).to_owned(), pair);
    }
    let scheduler: Value = serde_json::from_str(spec.scheduler).unwrap_or_default();
    index.insert(family.scheduler.to_owned(), json!(["diffusers", scheduler["_class_name"]]));
    index.into()
}

/// The library and the class of a network.
fn pair_of(layout: Layout) -> Value {
    match layout {
        Layout::UNet(_) => json!(["diffusers", "UNet2DConditionModel"]),
        Layout::ControlNet(_) => json!(["diffusers", "ControlNetModel"]),
        Layout::Mmdit(_) => json!(["diffusers", "SD3Transformer2DModel"]),
        Layout::TinyVae(_) => json!(["diffusers", "AutoencoderTiny"]),
        Layout::Vae(_) => json!(["diffusers", "AutoencoderKL"]),
        Layout::Transformers(rules) | Layout::OpenClip(rules) => json!(["transformers", rules.class()]),
        Layout::T5 => json!(["transformers", "T5EncoderModel"]),
    }
}

/// `scheduler_config.json`.
fn scheduler(spec: &KindSpec, predicted: &Predicted) -> Value {
    let mut config: Value = serde_json::from_str(spec.scheduler).unwrap_or_default();
    if let Some(prediction) = predicted.prediction.in_diffusers() {
        config["prediction_type"] = prediction.into();
    }
    if predicted.ends_at_noise {
        // diffusers: the whole schedule is stretched, and its last step is drawn from.
        config["rescale_betas_zero_snr"] = true.into();
        config["timestep_spacing"] = "trailing".into();
    }
    config
}
