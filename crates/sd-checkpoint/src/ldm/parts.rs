//! Which networks a file holds, told by the names of their tensors, and of which kind the whole is.

use sd_spec::Role;

use super::derive;
use super::kinds::{ClipRules, EncoderNames, Kind, KindSpec};
use super::tensors::Tensors;
use crate::Weights;

/// A network in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The first of the roles that it plays; the others share its folder.
    pub(crate) role: Role,
    /// How the keys of its tensors begin.
    pub(crate) prefix: &'static str,
    pub(crate) layout: Layout,
}

/// Whose names the tensors of a network have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    UNet,
    ControlNet,
    Mmdit,
    Vae,
    Transformers(ClipRules),
    OpenClip(ClipRules),
    T5,
}

/// A denoiser, a ControlNet or an autoencoder: what it plays, how its keys may begin, and one that every such network has.
struct Sought {
    role: Role,
    layout: Layout,
    prefixes: &'static [&'static str],
    key: &'static str,
}

/// The first that is found says what the file is.
const SOUGHT: [Sought; 4] = [
    Sought {
        role: Role::ControlNet,
        layout: Layout::ControlNet,
        prefixes: &["control_model.", ""],
        key: "input_hint_block.0.weight",
    },
    Sought {
        role: Role::Mmdit,
        layout: Layout::Mmdit,
        prefixes: DENOISER,
        key: "joint_blocks.0.x_block.attn.qkv.weight",
    },
    Sought { role: Role::UNet, layout: Layout::UNet, prefixes: DENOISER, key: "input_blocks.0.0.weight" },
    Sought {
        role: Role::VaeDecoder,
        layout: Layout::Vae,
        prefixes: &["first_stage_model.", "vae.", ""],
        key: "decoder.mid.block_1.conv1.weight",
    },
];

const DENOISER: &[&str] = &["model.diffusion_model.", "diffusion_model.", ""];

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Part>,
}

impl Contents {
    /// Looks for networks; none where there is no denoiser, ControlNet or autoencoder in these layouts.
    pub(crate) fn of(weights: &Weights, architecture: Option<&str>) -> Option<Self> {
        let found: Vec<Part> = SOUGHT.iter().filter_map(|sought| sought.find(weights)).collect();
        let main = *found.first()?;
        let kind = kind_of(weights, main, architecture);
        // A ControlNet stands alone, whatever else its file holds.
        let mut parts = if main.role == Role::ControlNet { vec![main] } else { found };
        if main.role != Role::ControlNet && main.role != Role::VaeDecoder {
            parts.extend(encoders(weights, kind.spec()));
        }
        for part in &mut parts {
            if part.role == Role::UNet && kind == Kind::SdxlRefiner {
                part.role = Role::Refiner;
            }
        }
        Some(Self { kind, parts })
    }
}

impl Sought {
    fn find(&self, weights: &Weights) -> Option<Part> {
        let prefix = self.prefixes.iter().find(|prefix| weights.get(&format!("{prefix}{}", self.key)).is_some())?;
        Some(Part { role: self.role, prefix, layout: self.layout })
    }
}

/// The text encoders that are there.
fn encoders(weights: &Weights, spec: &KindSpec) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for encoder in spec.encoders {
        let (layout, keys): (Layout, &[&str]) = match encoder.names {
            EncoderNames::Transformers(rules) => (Layout::Transformers(rules), TRANSFORMERS_EMBEDDINGS),
            EncoderNames::OpenClip(rules) => (Layout::OpenClip(rules), &["token_embedding.weight"]),
            EncoderNames::T5 => (Layout::T5, &["shared.weight", "encoder.embed_tokens.weight"]),
        };
        let tensors = Tensors::new(weights, encoder.prefix);
        let is_new = parts.iter().all(|part| part.role != encoder.role);
        if is_new && keys.iter().any(|key| tensors.has(key)) {
            parts.push(Part { role: encoder.role, prefix: encoder.prefix, layout });
        }
    }
    parts
}

/// Old merges leave out `text_model.`.
const TRANSFORMERS_EMBEDDINGS: &[&str] =
    &["text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"];

/// The kind, by the network that says most.
fn kind_of(weights: &Weights, main: Part, architecture: Option<&str>) -> Kind {
    /// Width of the text of XL's refiner.
    const REFINER_TEXT: usize = 1280;
    let tensors = Tensors::new(weights, main.prefix);
    let said = || named(architecture);
    match main.layout {
        Layout::Mmdit => return Kind::Sd3,
        Layout::Vae => {
            // Autoencoders of 1.x, 2.x and XL have the same shapes.
            let latents = tensors.dim("decoder.conv_in.weight", 1).unwrap_or_default();
            return if latents == 16 { Kind::Sd3 } else { said().unwrap_or(Kind::Sd1) };
        }
        _ => {}
    }
    if !tensors.has("label_emb.0.0.weight") {
        return if derive::attends_linearly(tensors) == Some(true) { Kind::Sd2 } else { Kind::Sd1 };
    }
    let has = |spec: &KindSpec| encoders(weights, spec).iter().any(|part| part.role == Role::TextEncoder2);
    if has(Kind::Sdxl.spec()) {
        return Kind::Sdxl;
    }
    let is_refiner = has(Kind::SdxlRefiner.spec())
        || said() == Some(Kind::SdxlRefiner)
        || derive::text_width(tensors) == Some(REFINER_TEXT);
    if is_refiner { Kind::SdxlRefiner } else { Kind::Sdxl }
}

/// The kind that metadata names; the longest name that fits.
fn named(architecture: Option<&str>) -> Option<Kind> {
    let architecture = architecture?;
    let kinds = [Kind::Sd1, Kind::Sd2, Kind::Sdxl, Kind::SdxlRefiner, Kind::Sd3];
    let names =
        kinds.iter().flat_map(|kind| kind.spec().architectures.iter().map(move |name| (name.len(), *kind, *name)));
    let fitting = names.filter(|(_, _, name)| architecture.starts_with(name));
    fitting.max_by_key(|(length, ..)| *length).map(|(_, kind, _)| kind)
}
