//! Which networks a file holds, told by the names of their tensors, and of which kind the whole is.

use sd_spec::Role;

use super::derive;
use super::kinds::{CLIP_G, CLIP_H, CLIP_L, ClipRules, EncoderNames, Kind, KindSpec};
use super::spelling::Spelling;
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
    UNet(Spelling),
    ControlNet(Spelling),
    Mmdit(Spelling),
    Vae(Spelling),
    /// TAESD: in diffusers' names both halves are one network, in its author's each is one.
    TinyVae(Spelling),
    Transformers(ClipRules),
    OpenClip(ClipRules),
    T5,
}

/// A denoiser, a ControlNet or an autoencoder: what it plays, how its keys may begin, and what every such network has.
struct Sought {
    role: Role,
    layout: Layout,
    prefixes: &'static [&'static str],
    keys: &'static [&'static str],
}

const fn sought(
    role: Role,
    layout: Layout,
    prefixes: &'static [&'static str],
    keys: &'static [&'static str],
) -> Sought {
    Sought { role, layout, prefixes, keys }
}

const DENOISER: &[&str] = &["model.diffusion_model.", "diffusion_model.", ""];
/// Files in diffusers' names are of one network.
const BARE: &[&str] = &[""];

/// The first that is found says what the file is.
const SOUGHT: [Sought; 11] = [
    sought(
        Role::ControlNet,
        Layout::ControlNet(Spelling::Original),
        &["control_model.", ""],
        &["input_hint_block.0.weight"],
    ),
    sought(
        Role::ControlNet,
        Layout::ControlNet(Spelling::Diffusers),
        BARE,
        &["controlnet_cond_embedding.conv_in.weight"],
    ),
    sought(Role::Mmdit, Layout::Mmdit(Spelling::Original), DENOISER, &["joint_blocks.0.x_block.attn.qkv.weight"]),
    sought(
        Role::Mmdit,
        Layout::Mmdit(Spelling::Diffusers),
        BARE,
        &["transformer_blocks.0.norm1_context.linear.weight"],
    ),
    sought(Role::UNet, Layout::UNet(Spelling::Original), DENOISER, &["input_blocks.0.0.weight"]),
    sought(Role::UNet, Layout::UNet(Spelling::Diffusers), BARE, &["up_blocks.0.resnets.0.conv1.weight"]),
    sought(
        Role::VaeDecoder,
        Layout::Vae(Spelling::Original),
        &["first_stage_model.", "vae.", ""],
        &["decoder.mid.block_1.conv1.weight"],
    ),
    sought(
        Role::VaeDecoder,
        Layout::Vae(Spelling::Diffusers),
        &["", "first_stage_model.", "vae."],
        &["decoder.mid_block.resnets.0.conv1.weight"],
    ),
    sought(Role::VaeDecoder, Layout::TinyVae(Spelling::Diffusers), BARE, &["decoder.layers.0.weight"]),
    // madebyollin/taesd: numbers of two lists, of which the decoder's begins with what bounds latents.
    sought(
        Role::VaeDecoder,
        Layout::TinyVae(Spelling::Original),
        &["taesd_decoder.", "decoder.", ""],
        &["1.weight", "3.conv.0.weight"],
    ),
    sought(
        Role::VaeEncoder,
        Layout::TinyVae(Spelling::Original),
        &["taesd_encoder.", "encoder.", ""],
        &["0.weight", "1.conv.0.weight"],
    ),
];

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Part>,
}

impl Contents {
    /// Looks for networks; none where there is no network in these layouts.
    ///
    /// # Errors
    /// For a file that holds a network twice, in two layouts, or two denoisers.
    pub(crate) fn of(weights: &Weights, architecture: Option<&str>) -> Result<Option<Self>, String> {
        let found: Vec<Part> = SOUGHT.iter().filter_map(|sought| sought.find(weights)).collect();
        let Some(main) = found.first().copied() else { return Ok(encoders_alone(weights, named(architecture))) };
        let kind = kind_of(weights, main, architecture);
        // A ControlNet stands alone, whatever else its file holds.
        let mut parts = if main.role == Role::ControlNet { vec![main] } else { found };
        check_mix(&parts)?;
        if main.role != Role::ControlNet && main.role.spec().folder != Role::VaeDecoder.spec().folder {
            parts.extend(encoders(weights, kind.spec()));
        }
        for part in &mut parts {
            if part.role == Role::UNet && kind == Kind::SdxlRefiner {
                part.role = Role::Refiner;
            }
        }
        Ok(Some(Self { kind, parts }))
    }
}

/// Refuses a file in which a network is there in two layouts, for nobody knows which is meant.
fn check_mix(parts: &[Part]) -> Result<(), String> {
    for (at, part) in parts.iter().enumerate() {
        let is_alike = |other: &&Part| other.role == part.role || (other.role.is_denoiser() && part.role.is_denoiser());
        if let Some(other) = parts[..at].iter().find(is_alike) {
            let key = |part: &Part| {
                let sought = SOUGHT.iter().find(|sought| sought.is_of(part));
                format!("{}{}", part.prefix, sought.map_or("", |sought| sought.keys[0]))
            };
            return Err(format!(
                "it mixes layouts: {} is of one {}, and {} of another; keep one of them in the file",
                key(other),
                part.role,
                key(part)
            ));
        }
    }
    Ok(())
}

impl Sought {
    fn find(&self, weights: &Weights) -> Option<Part> {
        let has = |prefix: &&&str| self.keys.iter().all(|key| weights.get(&format!("{prefix}{key}")).is_some());
        let prefix = self.prefixes.iter().find(has)?;
        Some(Part { role: self.role, prefix, layout: self.layout })
    }

    fn is_of(&self, part: &Part) -> bool {
        match (self.layout, part.layout) {
            (Layout::UNet(own), Layout::UNet(other))
            | (Layout::ControlNet(own), Layout::ControlNet(other))
            | (Layout::Mmdit(own), Layout::Mmdit(other))
            | (Layout::Vae(own), Layout::Vae(other))
            | (Layout::TinyVae(own), Layout::TinyVae(other)) => own == other,
            _ => false,
        }
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

/// Text encoders without a denoiser: several under the names of a whole model, or one under its own.
fn encoders_alone(weights: &Weights, said: Option<Kind>) -> Option<Contents> {
    let of = |kind: Kind| Contents { kind, parts: encoders(weights, kind.spec()) };
    // Of kinds that have as many, the first.
    let most = Kind::ALL.into_iter().rev().map(of).max_by_key(|contents| contents.parts.len())?;
    if !most.parts.is_empty() {
        return Some(most);
    }
    let tensors = Tensors::new(weights, "");
    let one = |kind, role, layout| Some(Contents { kind, parts: vec![Part { role, prefix: "", layout }] });
    if tensors.has("encoder.block.0.layer.0.SelfAttention.q.weight") {
        return one(Kind::Sd3, Role::TextEncoder3, Layout::T5);
    }
    if tensors.has("positional_embedding") {
        let width = tensors.dim("token_embedding.weight", 1).ok()?;
        let (kind, role, rules) = clip(width, width == CLIP_G_WIDTH, said);
        return one(kind, role, Layout::OpenClip(rules));
    }
    let width = TRANSFORMERS_EMBEDDINGS.iter().find_map(|key| tensors.dim(key, 1).ok())?;
    let (kind, role, rules) = clip(width, tensors.has("text_projection.weight"), said);
    one(kind, role, Layout::Transformers(rules))
}

/// Width of the text encoder that Stable Diffusion 1.x, XL and 3 share.
pub(super) const CLIP_L_WIDTH: usize = 768;
const CLIP_H_WIDTH: usize = 1024;
const CLIP_G_WIDTH: usize = 1280;

/// Which model's a text encoder of CLIP is, and which of its.
fn clip(width: usize, is_projected: bool, said: Option<Kind>) -> (Kind, Role, ClipRules) {
    match (width, is_projected) {
        (CLIP_H_WIDTH, _) => (Kind::Sd2, Role::TextEncoder, CLIP_H),
        (CLIP_L_WIDTH, true) => (Kind::Sd3, Role::TextEncoder, ClipRules { is_projected, ..CLIP_L }),
        (CLIP_L_WIDTH, false) => match said {
            Some(Kind::Sd3) => (Kind::Sd3, Role::TextEncoder, ClipRules { is_projected: true, ..CLIP_L }),
            Some(Kind::Sdxl) => (Kind::Sdxl, Role::TextEncoder, CLIP_L),
            _ => (Kind::Sd1, Role::TextEncoder, CLIP_L),
        },
        (CLIP_G_WIDTH, _) | (_, true) => (Kind::Sdxl, Role::TextEncoder2, CLIP_G),
        _ => (Kind::Sd1, Role::TextEncoder, CLIP_L),
    }
}

/// The kind, by the network that says most.
fn kind_of(weights: &Weights, main: Part, architecture: Option<&str>) -> Kind {
    /// Width of the text of XL's refiner.
    const REFINER_TEXT: usize = 1280;
    let tensors = Tensors::new(weights, main.prefix);
    let said = || named(architecture);
    let spelling = match main.layout {
        Layout::UNet(spelling) | Layout::ControlNet(spelling) => spelling,
        Layout::Vae(_) | Layout::TinyVae(_) => {
            // Autoencoders of 1.x, 2.x and XL have the same shapes.
            let latents = match main.layout {
                Layout::TinyVae(spelling) => derive::tiny_latents(tensors, spelling, main.role),
                _ => tensors.dim("decoder.conv_in.weight", 1),
            };
            return if latents == Ok(16) { Kind::Sd3 } else { said().unwrap_or(Kind::Sd1) };
        }
        Layout::Mmdit(_) | Layout::Transformers(_) | Layout::OpenClip(_) | Layout::T5 => return Kind::Sd3,
    };
    if !tensors.has(spelling.added_conditions()) {
        return if derive::attends_linearly(tensors, spelling) == Some(true) { Kind::Sd2 } else { Kind::Sd1 };
    }
    let has = |spec: &KindSpec| encoders(weights, spec).iter().any(|part| part.role == Role::TextEncoder2);
    if has(Kind::Sdxl.spec()) {
        return Kind::Sdxl;
    }
    let is_refiner = has(Kind::SdxlRefiner.spec())
        || said() == Some(Kind::SdxlRefiner)
        || derive::text_width(tensors, spelling) == Some(REFINER_TEXT);
    if is_refiner { Kind::SdxlRefiner } else { Kind::Sdxl }
}

/// The kind that metadata names; the longest name that fits.
fn named(architecture: Option<&str>) -> Option<Kind> {
    let architecture = architecture?;
    let names = Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.spec().architectures.iter().map(move |name| (name.len(), kind, *name)));
    let fitting = names.filter(|(_, _, name)| architecture.starts_with(name));
    fitting.max_by_key(|(length, ..)| *length).map(|(_, kind, _)| kind)
}
