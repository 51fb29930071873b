//! Which weights of a checkpoint a LoRA's module is about.
//!
//! Names are compared with dots and underscores alike, since sd-scripts writes the one for the other. What a name may be
//! follows from the checkpoint's own keys and from the tables of the other layouts, so that nothing is guessed from the name.

use std::collections::HashMap;
use std::ops::Range;

use sd_models::NetworkConfig;
use sd_spec::Role;

use crate::ldm;
use crate::ldm::names::{How, Names};
use crate::{Checkpoint, CheckpointError, Weights};

/// Which network of a pipeline a LoRA's module is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    Denoiser,
    Text,
    Text2,
    Text3,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [Self::Denoiser, Self::Text, Self::Text2, Self::Text3];

    /// Its role in a checkpoint.
    fn role(self, checkpoint: &Checkpoint) -> Role {
        match self {
            Self::Denoiser => checkpoint.denoiser(),
            Self::Text => Role::TextEncoder,
            Self::Text2 => Role::TextEncoder2,
            Self::Text3 => Role::TextEncoder3,
        }
    }
}

/// How names of modules begin, and which network they are of.
const PREFIXES: [(&str, Part); 19] = [
    ("lora_unet_", Part::Denoiser),
    ("lora_transformer_", Part::Denoiser),
    ("lycoris_", Part::Denoiser),
    ("unet.", Part::Denoiser),
    ("transformer.", Part::Denoiser),
    ("model.diffusion_model.", Part::Denoiser),
    ("diffusion_model.", Part::Denoiser),
    ("lora_te_", Part::Text),
    ("lora_te1_", Part::Text),
    ("text_encoder.", Part::Text),
    ("text_encoders.clip_l.transformer.", Part::Text),
    ("text_encoders.clip_l.", Part::Text),
    ("lora_te2_", Part::Text2),
    ("text_encoder_2.", Part::Text2),
    ("text_encoders.clip_g.transformer.", Part::Text2),
    ("text_encoders.clip_g.", Part::Text2),
    ("lora_te3_", Part::Text3),
    ("text_encoder_3.", Part::Text3),
    ("text_encoders.t5xxl.transformer.", Part::Text3),
];

/// What PEFT puts before the names of the module that it was given.
const WRAPPED: &str = "base_model.model.";

/// The network and the name within it; without a known beginning it may be of the denoiser, or of a text encoder.
pub(super) fn split(module: &str) -> (Option<Part>, &str) {
    let module = module.strip_prefix(WRAPPED).unwrap_or(module);
    let found = PREFIXES.iter().find_map(|&(prefix, part)| Some((part, module.strip_prefix(prefix)?)));
    match found {
        Some((part, rest)) => (Some(part), rest.strip_prefix(WRAPPED).unwrap_or(rest)),
        None => (None, module),
    }
}

/// A module of the checkpoint, and which rows of a LoRA's module it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) part: Part,
    pub(super) folder: &'static str,
    /// Its name in diffusers, without `.weight` and `.bias`.
    pub(super) module: String,
    pub(super) how: How,
}

/// Rows of a larger matrix that a weight of `n_rows` is; none where it is all of it.
pub(super) fn pieces(how: How, n_rows: usize) -> Option<Vec<Range<usize>>> {
    match how {
        How::Third(i) => Some(std::iter::once(i * n_rows..(i + 1) * n_rows).collect()),
        How::HalvesSwapped => Some(vec![n_rows / 2..n_rows, 0..n_rows / 2]),
        How::Same | How::Squeezed | How::Transposed => None,
    }
}

/// The modules of a checkpoint by the names that LoRAs may give them.
#[derive(Debug, Default)]
pub(super) struct Targets {
    by_name: HashMap<(Part, String), Vec<Target>>,
}

impl Targets {
    /// Those of the networks that the checkpoint has.
    pub(super) fn of(checkpoint: &Checkpoint, weights: &HashMap<Part, Weights>) -> Self {
        let mut targets = Self::default();
        for part in Part::ALL {
            let Some(weights) = weights.get(&part) else { continue };
            let role = part.role(checkpoint);
            let names = checkpoint.network(role).ok().and_then(|network| layout(&network));
            targets.add(part, role.spec().folder, weights, names.as_ref());
        }
        targets
    }

    fn add(&mut self, part: Part, folder: &'static str, weights: &Weights, names: Option<&Names>) {
        let modules = weights.iter().filter_map(|(key, _)| key.strip_suffix(".weight"));
        for module in modules {
            let target = |how| Target { part, folder, module: module.to_owned(), how };
            let name = flat(module);
            for alias in aliases(part, &name) {
                self.insert(part, alias, target(How::Same));
            }
            // What is turned elsewhere has its rows as columns there; nobody trains that.
            let origin = names.and_then(|names| names.origin(module)).filter(|origin| origin.how != How::Transposed);
            if let Some(origin) = origin {
                self.insert(part, flat(&origin.key), target(origin.how));
            }
            self.insert(part, name, target(How::Same));
        }
    }

    fn insert(&mut self, part: Part, name: String, target: Target) {
        let targets = self.by_name.entry((part, name)).or_default();
        if !targets.contains(&target) {
            targets.push(target);
        }
    }

    /// What a module is about; nothing where the checkpoint has nothing of that name.
    pub(super) fn find(&self, module: &str) -> Option<&[Target]> {
        let (part, rest) = split(module);
        let name = flat(rest).replace("_processor_", "_");
        let parts = part.map_or_else(|| vec![Part::Denoiser, Part::Text], |part| vec![part]);
        parts.into_iter().find_map(|part| self.by_name.get(&(part, name.clone()))).map(Vec::as_slice)
    }
}

/// Tables of the denoiser's other layout.
fn layout(network: &NetworkConfig) -> Option<Names> {
    match network {
        NetworkConfig::UNet(config) => Some(ldm::unet::unet(config)),
        NetworkConfig::Mmdit(config) => Some(ldm::mmdit::mmdit(config)),
        _ => None,
    }
}

fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// Other names of a module within its network.
fn aliases(part: Part, name: &str) -> Vec<String> {
    if part == Part::Denoiser {
        // diffusers before PEFT leaves out that the projection is the first of a list.
        return name.strip_suffix("to_out_0").map(|head| format!("{head}to_out")).into_iter().collect();
    }
    // transformers 5 drops the outer name that 4 has.
    let other = match name.strip_prefix("text_model_") {
        Some(rest) => rest.to_owned(),
        None => format!("text_model_{name}"),
    };
    let mut names = vec![other];
    // diffusers before PEFT names the projections of text as its own.
    for (new, old) in [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")] {
        let heads = [name, &names[0]].map(|name| name.strip_suffix(new).map(|head| format!("{head}{old}")));
        names.extend(heads.into_iter().flatten());
    }
    names
}

/// The weights of the networks that LoRAs may be about.
pub(super) fn weights(checkpoint: &Checkpoint) -> Result<HashMap<Part, Weights>, CheckpointError> {
    let there = Part::ALL.into_iter().filter(|part| checkpoint.has(part.role(checkpoint)));
    there.map(|part| Ok((part, checkpoint.weights(part.role(checkpoint))?))).collect()
}
