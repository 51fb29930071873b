//! What a LoRA is, in words and numbers: for those who look before they apply it.

use std::collections::{BTreeMap, BTreeSet};

use sd_spec::{Axis, Family};
use serde::Serialize;

use super::Lora;
use super::key::Slot;
use super::module::Kind;
use super::names::{self, Part};
use crate::Checkpoint;

/// Which model a LoRA was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Stable Diffusion 1.
    Sd1,
    /// Stable Diffusion 2.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// The refiner of XL.
    Refiner,
    /// Stable Diffusion 3.
    Sd3,
    /// FLUX.
    Flux,
}

/// Facts about a model that LoRAs are for: its name, the family here, the width of its text, and how metadata names it.
struct BaseSpec {
    base: Base,
    words: &'static str,
    family: Option<Family>,
    text_width: Option<usize>,
    /// Beginnings of `ss_base_model_version` (sd-scripts) and `modelspec.architecture`.
    versions: &'static [&'static str],
}

const BASES: [BaseSpec; 6] = [
    BaseSpec {
        base: Base::Sd1,
        words: "Stable Diffusion 1",
        family: Some(Family::Sd),
        text_width: Some(768),
        versions: &["sd_v1", "sd_1", "stable-diffusion-v1"],
    },
    BaseSpec {
        base: Base::Sd2,
        words: "Stable Diffusion 2",
        family: Some(Family::Sd),
        text_width: Some(1024),
        versions: &["sd_v2", "sd_2", "stable-diffusion-v2"],
    },
    BaseSpec {
        base: Base::Sdxl,
        words: "Stable Diffusion XL",
        family: Some(Family::Sdxl),
        text_width: Some(2048),
        versions: &["sdxl_base", "stable-diffusion-xl-v1-base"],
    },
    BaseSpec {
        base: Base::Refiner,
        words: "the refiner of Stable Diffusion XL",
        family: Some(Family::SdxlRefiner),
        text_width: Some(1280),
        versions: &["sdxl_refiner", "stable-diffusion-xl-v1-refiner"],
    },
    BaseSpec {
        base: Base::Sd3,
        words: "Stable Diffusion 3",
        family: Some(Family::Sd3),
        text_width: None,
        versions: &["sd3", "sd_3", "stable-diffusion-3", "stable-diffusion-v3"],
    },
    BaseSpec { base: Base::Flux, words: "FLUX", family: None, text_width: None, versions: &["flux"] },
];

impl Base {
    fn spec(self) -> &'static BaseSpec {
        BASES.iter().find(|spec| spec.base == self).expect("invariant: every base has a row")
    }

    /// Its name.
    #[must_use]
    pub fn words(self) -> &'static str {
        self.spec().words
    }
}

/// What a LoRA is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraFacts {
    /// Kinds of its modules, and how many there are of each.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Whether weights are decomposed (DoRA).
    pub is_dora: bool,
    /// Whose names its tensors have.
    pub naming: Option<&'static str>,
    /// The model that it was trained for, as far as names, shapes and metadata tell.
    pub base: Option<&'static str>,
    /// Ranks that occur, ascending.
    pub ranks: Vec<usize>,
    /// Alphas that occur, ascending; none for modules without one.
    pub alphas: Vec<f32>,
    /// Whether alpha is divided by the root of the rank.
    pub is_rank_stabilised: bool,
    /// Number of modules by the network that they are of.
    pub modules: BTreeMap<&'static str, usize>,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Tensors that belong to no module.
    pub strays: Vec<String>,
}

impl Lora {
    /// What it is.
    #[must_use]
    pub fn facts(&self) -> LoraFacts {
        let (mut kinds, mut modules) = (BTreeMap::new(), BTreeMap::new());
        for (name, module) in &self.modules {
            if let Some(kind) = module.kind() {
                *kinds.entry(kind.name()).or_default() += 1;
                *modules.entry(names::split(name).0.unwrap_or(Part::Denoiser).words()).or_default() += 1;
            }
        }
        let ranks: BTreeSet<usize> = self.modules.values().filter_map(super::module::Module::rank).collect();
        let mut alphas: Vec<f32> = self.modules.values().filter_map(|module| module.alpha().ok().flatten()).collect();
        alphas.sort_by(f32::total_cmp);
        alphas.dedup();
        let has = |slot| self.modules.values().any(|module| module.tensors.contains_key(&slot));
        LoraFacts {
            kinds,
            is_dora: has(Slot::DoraScale) || has(Slot::Magnitude),
            naming: self.modules.values().find_map(|module| module.spelling).map(super::Spelling::words),
            base: self.base().map(Base::words),
            ranks: ranks.into_iter().collect(),
            alphas,
            is_rank_stabilised: self.config.is_rank_stabilised(),
            modules,
            n_tensors: self.modules.values().map(|module| module.tensors.len()).sum::<usize>() + self.strays.len(),
            strays: self.strays.clone(),
        }
    }

    /// The model that it was trained for, as far as names, shapes and metadata tell.
    #[must_use]
    pub fn base(&self) -> Option<Base> {
        let any = |parts: &[&str]| self.modules.keys().any(|name| parts.iter().any(|part| name.contains(part)));
        if any(&["single_transformer_blocks", "single_blocks", "double_blocks"]) {
            return Some(Base::Flux);
        }
        if any(&["joint_blocks", "add_q_proj", "add_k_proj", "lora_te3_", "transformer.transformer_blocks."]) {
            return Some(Base::Sd3);
        }
        let of_width = self.text_width().and_then(|width| BASES.iter().find(|spec| spec.text_width == Some(width)));
        let of_version = || {
            let said = ["ss_base_model_version", "modelspec.architecture"].map(|key| self.header.get(key));
            let said: Vec<String> = said.into_iter().flatten().map(|version| version.to_lowercase()).collect();
            let is_of = |spec: &&BaseSpec| spec.versions.iter().any(|own| said.iter().any(|s| s.starts_with(own)));
            BASES.iter().find(is_of)
        };
        // Only XL has two text encoders and several transformer blocks in a row.
        let is_xl = || any(&["lora_te2_", "text_encoder_2.", "_transformer_blocks_1_", ".transformer_blocks.1."]);
        of_width.or_else(of_version).map(|spec| spec.base).or_else(|| is_xl().then_some(Base::Sdxl))
    }

    /// How wide the text is that its denoiser attends to.
    fn text_width(&self) -> Option<usize> {
        let is_of_text =
            |name: &str| ["attn2_to_k", "attn2.to_k", "attn2.processor.to_k"].iter().any(|end| name.ends_with(end));
        let module = self.modules.iter().find(|(name, module)| {
            is_of_text(name) && matches!(module.kind(), Some(Kind::Lora)) && module.tensors.contains_key(&Slot::Down)
        });
        module?.1.tensors.get(&Slot::Down)?.tensor.shape().get(1).copied()
    }
}

impl Part {
    const fn words(self) -> &'static str {
        match self {
            Self::Denoiser => "denoiser",
            Self::Text => "text_encoder",
            Self::Text2 => "text_encoder_2",
            Self::Text3 => "text_encoder_3",
        }
    }
}

/// Why a LoRA cannot fit a checkpoint, where it is for a model of another kind.
pub(super) fn explain(lora: &Lora, checkpoint: &Checkpoint) -> Option<String> {
    let own = checkpoint.family();
    let base = lora.base();
    if let Some(base) = base.filter(|base| base.spec().family != Some(own)) {
        return Some(format!("a LoRA for {}, and the checkpoint is {}", base.words(), own.spec().name));
    }
    let facts = checkpoint.network(checkpoint.denoiser()).ok()?.facts();
    let (of_lora, wanted) = (lora.text_width()?, facts.dims.get(Axis::TextWidth)?);
    let words = base.map_or_else(String::new, |base| format!(" for {},", base.words()));
    (of_lora != wanted)
        .then(|| format!("a LoRA{words} with text {of_lora} wide, and the checkpoint's is {wanted} wide"))
}
