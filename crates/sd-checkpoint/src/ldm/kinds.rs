//! The kinds of models that single files hold, and what of them no tensor says.
//!
//! | what | where from |
//! |---|---|
//! | heads | OpenAI's configurations of 1.x have 8 of them everywhere; those of 2.x and XL are 64 wide |
//! | schedules, scales, sizes | `config.json` and `scheduler_config.json` of the models' own repositories |

use sd_spec::clip_tokenizer::Padding;
use sd_spec::{Family, Role};

/// A kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sd1,
    Sd2,
    Sdxl,
    SdxlRefiner,
    Sd3,
}

/// How many heads an attention has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heads {
    Number(usize),
    /// Each is so wide.
    OfWidth(usize),
}

/// What a UNet's tensors do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UNetRules {
    pub(crate) heads: Heads,
    pub(crate) upcast_attention: bool,
    /// Side of the latents that it was made for.
    pub(crate) latent_side: usize,
    /// Width of each number among the added conditions.
    pub(crate) added_time_width: usize,
}

/// What an autoencoder's tensors do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VaeRules {
    pub(crate) scaling_factor: f64,
    pub(crate) shift_factor: Option<f64>,
}

/// What the tensors of Stable Diffusion 3's transformer do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MmditRules {
    pub(crate) latent_side: usize,
    pub(crate) head_width: usize,
}

/// What the tensors of a CLIP do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClipRules {
    pub(crate) activation: &'static str,
    pub(crate) is_projected: bool,
    /// Layers beyond are left aside.
    pub(crate) max_layers: usize,
}

/// Whose names the tensors of a text encoder have, and what they do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EncoderNames {
    Transformers(ClipRules),
    OpenClip(ClipRules),
    T5,
}

/// Where a text encoder is in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderSpec {
    pub(crate) prefix: &'static str,
    pub(crate) role: Role,
    pub(crate) names: EncoderNames,
}

/// What is the same for every model of a kind.
#[derive(Debug)]
pub(crate) struct KindSpec {
    /// What people call it.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) unet: UNetRules,
    /// Side of the latents where the model predicts velocities.
    pub(crate) latent_side_of_velocity: usize,
    pub(crate) vae: VaeRules,
    pub(crate) encoders: &'static [EncoderSpec],
    /// The classes of pipelines by channels of the denoiser's input; the first is that of any other number.
    pub(crate) pipelines: &'static [(usize, &'static str)],
    /// Folders of tokenizers, with what they pad with.
    pub(crate) tokenizers: &'static [(&'static str, Padding)],
    /// `scheduler_config.json`.
    pub(crate) scheduler: &'static str,
    /// Other entries of `model_index.json`.
    pub(crate) index: &'static [(&'static str, bool)],
    /// How `modelspec.architecture` begins.
    pub(crate) architectures: &'static [&'static str],
}

impl ClipRules {
    /// Its class in transformers.
    pub(crate) const fn class(self) -> &'static str {
        if self.is_projected { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }
    }
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] = [Self::Sd1, Self::Sd2, Self::Sdxl, Self::SdxlRefiner, Self::Sd3];

    pub(crate) const fn spec(self) -> &'static KindSpec {
        match self {
            Self::Sd1 => &SD1,
            Self::Sd2 => &SD2,
            Self::Sdxl => &SDXL,
            Self::SdxlRefiner => &SDXL_REFINER,
            Self::Sd3 => &SD3,
        }
    }
}

/// The transformer of Stable Diffusion 3, of any size.
pub(crate) const MMDIT: MmditRules = MmditRules { latent_side: 128, head_width: 64 };

pub(crate) const CLIP_L: ClipRules =
    ClipRules { activation: "quick_gelu", is_projected: false, max_layers: usize::MAX };
pub(crate) const CLIP_G: ClipRules = ClipRules { activation: "gelu", is_projected: true, max_layers: usize::MAX };
/// Stable Diffusion 2 takes what the last layer but one gives, so diffusers has 23 of its 24 layers.
pub(crate) const CLIP_H: ClipRules = ClipRules { activation: "gelu", is_projected: false, max_layers: 23 };

const fn encoder(prefix: &'static str, role: Role, names: EncoderNames) -> EncoderSpec {
    EncoderSpec { prefix, role, names }
}

const PNDM: &str = r#"{
  "_class_name": "PNDMScheduler",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "clip_sample": false,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "set_alpha_to_one": false,
  "skip_prk_steps": true,
  "steps_offset": 1,
  "timestep_spacing": "leading",
  "trained_betas": null
}"#;

const DDIM: &str = r#"{
  "_class_name": "DDIMScheduler",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "clip_sample": false,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "set_alpha_to_one": false,
  "steps_offset": 1,
  "timestep_spacing": "leading",
  "trained_betas": null
}"#;

const EULER: &str = r#"{
  "_class_name": "EulerDiscreteScheduler",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "interpolation_type": "linear",
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "steps_offset": 1,
  "timestep_spacing": "leading",
  "trained_betas": null,
  "use_karras_sigmas": false
}"#;

const FLOW_EULER: &str = r#"{
  "_class_name": "FlowMatchEulerDiscreteScheduler",
  "num_train_timesteps": 1000,
  "shift": 3.0
}"#;

const SD1: KindSpec = KindSpec {
    name: "Stable Diffusion 1.x",
    family: Family::Sd,
    unet: UNetRules { heads: Heads::Number(8), upcast_attention: false, latent_side: 64, added_time_width: 256 },
    latent_side_of_velocity: 64,
    vae: VaeRules { scaling_factor: 0.18215, shift_factor: None },
    encoders: &[encoder("cond_stage_model.transformer.", Role::TextEncoder, EncoderNames::Transformers(CLIP_L))],
    pipelines: &[
        (4, "StableDiffusionPipeline"),
        (8, "StableDiffusionInstructPix2PixPipeline"),
        (9, "StableDiffusionInpaintPipeline"),
    ],
    tokenizers: &[("tokenizer", Padding::EndToken)],
    scheduler: PNDM,
    index: &[("requires_safety_checker", false)],
    architectures: &["stable-diffusion-v1"],
};

const SD2: KindSpec = KindSpec {
    name: "Stable Diffusion 2.x",
    unet: UNetRules { heads: Heads::OfWidth(64), upcast_attention: true, ..SD1.unet },
    latent_side_of_velocity: 96,
    encoders: &[
        encoder("cond_stage_model.model.", Role::TextEncoder, EncoderNames::OpenClip(CLIP_H)),
        // SD-Turbo, in the layout of XL.
        encoder("conditioner.embedders.0.model.", Role::TextEncoder, EncoderNames::OpenClip(CLIP_H)),
    ],
    tokenizers: &[("tokenizer", Padding::Zero)],
    scheduler: DDIM,
    architectures: &["stable-diffusion-v2"],
    ..SD1
};

const SDXL: KindSpec = KindSpec {
    name: "Stable Diffusion XL",
    family: Family::Sdxl,
    unet: UNetRules { heads: Heads::OfWidth(64), latent_side: 128, ..SD1.unet },
    latent_side_of_velocity: 128,
    vae: VaeRules { scaling_factor: 0.13025, shift_factor: None },
    encoders: &[
        encoder("conditioner.embedders.0.transformer.", Role::TextEncoder, EncoderNames::Transformers(CLIP_L)),
        encoder("conditioner.embedders.1.model.", Role::TextEncoder2, EncoderNames::OpenClip(CLIP_G)),
    ],
    pipelines: &[
        (4, "StableDiffusionXLPipeline"),
        (8, "StableDiffusionXLInstructPix2PixPipeline"),
        (9, "StableDiffusionXLInpaintPipeline"),
    ],
    tokenizers: &[("tokenizer", Padding::EndToken), ("tokenizer_2", Padding::Zero)],
    scheduler: EULER,
    index: &[("force_zeros_for_empty_prompt", true)],
    architectures: &["stable-diffusion-xl"],
};

const SDXL_REFINER: KindSpec = KindSpec {
    name: "the refiner of Stable Diffusion XL",
    family: Family::SdxlRefiner,
    encoders: &[encoder("conditioner.embedders.0.model.", Role::TextEncoder2, EncoderNames::OpenClip(CLIP_G))],
    pipelines: &[(4, "StableDiffusionXLImg2ImgPipeline")],
    tokenizers: &[("tokenizer_2", Padding::Zero)],
    index: &[("force_zeros_for_empty_prompt", false), ("requires_aesthetics_score", true)],
    architectures: &["stable-diffusion-xl-v1-refiner"],
    ..SDXL
};

const SD3: KindSpec = KindSpec {
    name: "Stable Diffusion 3 or 3.5",
    family: Family::Sd3,
    vae: VaeRules { scaling_factor: 1.5305, shift_factor: Some(0.0609) },
    encoders: &[
        encoder(
            "text_encoders.clip_l.transformer.",
            Role::TextEncoder,
            EncoderNames::Transformers(ClipRules { is_projected: true, ..CLIP_L }),
        ),
        encoder("text_encoders.clip_g.transformer.", Role::TextEncoder2, EncoderNames::Transformers(CLIP_G)),
        encoder("text_encoders.t5xxl.transformer.", Role::TextEncoder3, EncoderNames::T5),
    ],
    pipelines: &[(16, "StableDiffusion3Pipeline")],
    tokenizers: &[("tokenizer", Padding::EndToken), ("tokenizer_2", Padding::Zero)],
    scheduler: FLOW_EULER,
    index: &[],
    architectures: &["stable-diffusion-v3"],
    ..SDXL
};
