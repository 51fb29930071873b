//! Families: checkpoints that one pipeline draws with.

use crate::feature::TextState;
use crate::role::Role;

/// A family of checkpoints.
///
/// Stable Diffusion 1.x and 2.x are one: they have the same roles and differ in their configurations only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Stable Diffusion 1.x and 2.x.
    Sd,
    /// Stable Diffusion XL.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
    /// Stable Diffusion 3 and 3.5.
    Sd3,
}

/// What is the same for every checkpoint of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilySpec {
    /// Which family.
    pub family: Family,
    /// What people call it.
    pub name: &'static str,
    /// Roles without which nothing is drawn.
    pub required: &'static [Role],
    /// Roles that a pipeline has where they are there and wanted.
    pub optional: &'static [Role],
    /// Roles of networks that can be made of it, and are where somebody asks for them.
    pub on_request: &'static [Role],
    /// Whether its autoencoder was trained in full precision and leaves half, unless its configuration says otherwise.
    pub autoencoder_leaves_half: bool,
    /// What of the text encoders the denoiser attends to.
    pub text_state: TextState,
    /// Folders of tokenizers, in the order of the text encoders that they belong to.
    pub tokenizers: &'static [&'static str],
    /// The folder of the scheduler.
    pub scheduler: &'static str,
    /// The folder of the safety checker's preprocessing.
    pub feature_extractor: &'static str,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Sd, Self::Sdxl, Self::SdxlRefiner, Self::Sd3];

    /// What is the same for every checkpoint of it.
    #[must_use]
    pub const fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Sd => &SD,
            Self::Sdxl => &SDXL,
            Self::SdxlRefiner => &SDXL_REFINER,
            Self::Sd3 => &SD3,
        }
    }
}

const SD: FamilySpec = FamilySpec {
    family: Family::Sd,
    name: "Stable Diffusion 1.x or 2.x",
    required: &[Role::TextEncoder, Role::UNet, Role::VaeDecoder],
    optional: &[Role::VaeEncoder, Role::SafetyChecker],
    on_request: &[Role::ControlledUNet, Role::ControlNet, Role::MultilingualProjection],
    autoencoder_leaves_half: false,
    text_state: TextState::Last,
    tokenizers: &["tokenizer"],
    scheduler: "scheduler",
    feature_extractor: "feature_extractor",
};

const SDXL: FamilySpec = FamilySpec {
    family: Family::Sdxl,
    name: "Stable Diffusion XL",
    required: &[Role::TextEncoder, Role::TextEncoder2, Role::UNet, Role::VaeDecoder],
    optional: &[Role::VaeEncoder],
    on_request: &[Role::ControlledUNet, Role::ControlNet],
    autoencoder_leaves_half: true,
    text_state: TextState::Penultimate,
    tokenizers: &["tokenizer", "tokenizer_2"],
    ..SD
};

const SDXL_REFINER: FamilySpec = FamilySpec {
    family: Family::SdxlRefiner,
    name: "the refiner of Stable Diffusion XL",
    required: &[Role::TextEncoder2, Role::Refiner, Role::VaeDecoder],
    on_request: &[],
    tokenizers: &["tokenizer_2"],
    ..SDXL
};

const SD3: FamilySpec = FamilySpec {
    family: Family::Sd3,
    name: "Stable Diffusion 3 or 3.5",
    required: &[Role::TextEncoder, Role::TextEncoder2, Role::Mmdit, Role::VaeDecoder],
    optional: &[Role::TextEncoder3, Role::VaeEncoder],
    on_request: &[],
    // Its file says force_upcast, which only pipelines of XL heed; diffusers runs this one in half precision.
    autoencoder_leaves_half: false,
    tokenizers: &["tokenizer", "tokenizer_2", "tokenizer_3"],
    ..SDXL
};
