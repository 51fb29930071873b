//! The models whose shapes can be written, and the files that tie their components together.

use serde_json::{Value, json};

use super::{
    clip::{Activation, ClipText, SafetyChecker, Transformer},
    tokenizer::Padding,
    unet::{Addition, Projection, UNet},
    vae::Vae,
};

/// A model's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PresetName {
    /// Stable Diffusion 1.5.
    Sd15,
    /// Stable Diffusion 2.1 at 768 pixels.
    Sd21,
    /// Stable Diffusion XL 1.0 base.
    Sdxl,
    /// The shape of the golden checkpoint `tiny-sd15`.
    Tiny,
}

/// The pipeline class in diffusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipeline {
    StableDiffusion,
    StableDiffusionXl,
}

/// The sampler that the checkpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduler {
    Pndm,
    DdimVPrediction,
    Euler,
}

/// Every component of a checkpoint.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) pipeline: Pipeline,
    pub(super) text_encoders: Vec<ClipText>,
    pub(super) unet: UNet,
    pub(super) vae: Vae,
    pub(super) safety_checker: Option<SafetyChecker>,
    pub(super) scheduler: Scheduler,
}

impl Preset {
    pub(super) fn new(name: PresetName) -> Self {
        match name {
            PresetName::Sd15 => sd15(),
            PresetName::Sd21 => sd21(),
            PresetName::Sdxl => sdxl(),
            PresetName::Tiny => tiny(),
        }
    }

    /// SD 1.x pads with the end token; SD 2.x and the second tokenizer of XL with "!", OpenCLIP's zero.
    pub(super) fn padding_of_tokenizer(&self, index: usize) -> Padding {
        if index > 0 || self.scheduler == Scheduler::DdimVPrediction { Padding::Zero } else { Padding::EndToken }
    }

    /// `model_index.json`.
    pub(super) fn model_index(&self) -> Value {
        let none = json!([null, null]);
        let mut index = json!({
            "_diffusers_version": "0.30.2",
            "feature_extractor": none,
            "image_encoder": none,
            "scheduler": ["diffusers", self.scheduler.class()],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        });
        for (i, encoder) in self.text_encoders.iter().enumerate() {
            let suffix = if i == 0 { String::new() } else { format!("_{}", i + 1) };
            index[format!("text_encoder{suffix}")] = json!(["transformers", encoder.class()]);
            index[format!("tokenizer{suffix}")] = json!(["transformers", "CLIPTokenizer"]);
        }
        match self.pipeline {
            Pipeline::StableDiffusion => {
                index["_class_name"] = "StableDiffusionPipeline".into();
                index["feature_extractor"] = json!(["transformers", "CLIPImageProcessor"]);
                index["requires_safety_checker"] = self.safety_checker.is_some().into();
                index["safety_checker"] = match self.safety_checker {
                    Some(_) => json!(["stable_diffusion", "StableDiffusionSafetyChecker"]),
                    None => none,
                };
            }
            Pipeline::StableDiffusionXl => {
                index["_class_name"] = "StableDiffusionXLPipeline".into();
                index["add_watermarker"] = Value::Null;
                index["force_zeros_for_empty_prompt"] = true.into();
            }
        }
        index
    }
}

impl Scheduler {
    fn class(self) -> &'static str {
        match self {
            Self::Pndm => "PNDMScheduler",
            Self::DdimVPrediction => "DDIMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
        }
    }

    /// `scheduler_config.json`.
    pub(super) fn config(self) -> Value {
        let mut config = json!({
            "_class_name": self.class(),
            "_diffusers_version": "0.30.2",
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "steps_offset": 1,
            "timestep_spacing": "leading",
            "trained_betas": null,
        });
        match self {
            Self::Pndm => {
                config["set_alpha_to_one"] = false.into();
                config["skip_prk_steps"] = true.into();
            }
            Self::DdimVPrediction => {
                config["prediction_type"] = "v_prediction".into();
                config["clip_sample"] = false.into();
                config["clip_sample_range"] = 1.0.into();
                config["dynamic_thresholding_ratio"] = 0.995.into();
                config["rescale_betas_zero_snr"] = false.into();
                config["sample_max_value"] = 1.0.into();
                config["set_alpha_to_one"] = false.into();
                config["thresholding"] = false.into();
            }
            Self::Euler => {
                config["interpolation_type"] = "linear".into();
                config["use_karras_sigmas"] = false.into();
            }
        }
        config
    }
}

const CLIP_L: ClipText = ClipText {
    transformer: Transformer { hidden_size: 768, n_layers: 12, n_heads: 12 },
    activation: Activation::QuickGelu,
    projection_dim: 768,
    has_projection: false,
};

fn full_vae(sample_size: usize, scaling_factor: f64) -> Vae {
    Vae { sample_size, channels: vec![128, 256, 512, 512], scaling_factor }
}

fn sd15() -> Preset {
    Preset {
        pipeline: Pipeline::StableDiffusion,
        text_encoders: vec![CLIP_L],
        unet: UNet {
            sample_size: 64,
            channels: vec![320, 640, 1280, 1280],
            transformer_depths: vec![Some(1), Some(1), Some(1), None],
            mid_depth: 1,
            n_heads: vec![8; 4],
            layers_per_block: 2,
            cross_attention_dim: 768,
            projection: Projection::Conv,
            upcast_attention: false,
            addition: None,
        },
        vae: full_vae(512, 0.18215),
        safety_checker: Some(SafetyChecker {
            vision: Transformer { hidden_size: 1024, n_layers: 24, n_heads: 16 },
            patch_size: 14,
            projection_dim: 768,
            text: CLIP_L.transformer,
            text_intermediate_size: 3072,
        }),
        scheduler: Scheduler::Pndm,
    }
}

fn sd21() -> Preset {
    Preset {
        text_encoders: vec![ClipText {
            transformer: Transformer { hidden_size: 1024, n_layers: 23, n_heads: 16 },
            activation: Activation::Gelu,
            projection_dim: 512,
            has_projection: false,
        }],
        unet: UNet {
            sample_size: 96,
            n_heads: vec![5, 10, 20, 20],
            cross_attention_dim: 1024,
            projection: Projection::Linear,
            upcast_attention: true,
            ..sd15().unet
        },
        vae: full_vae(768, 0.18215),
        safety_checker: None,
        scheduler: Scheduler::DdimVPrediction,
        ..sd15()
    }
}

fn sdxl() -> Preset {
    let clip_g = ClipText {
        transformer: Transformer { hidden_size: 1280, n_layers: 32, n_heads: 20 },
        activation: Activation::Gelu,
        projection_dim: 1280,
        has_projection: true,
    };
    Preset {
        pipeline: Pipeline::StableDiffusionXl,
        text_encoders: vec![CLIP_L, clip_g],
        unet: UNet {
            sample_size: 128,
            channels: vec![320, 640, 1280],
            transformer_depths: vec![None, Some(2), Some(10)],
            mid_depth: 10,
            n_heads: vec![5, 10, 20],
            layers_per_block: 2,
            cross_attention_dim: 2048,
            projection: Projection::Linear,
            upcast_attention: false,
            addition: Some(Addition { time_dim: 256, n_in: 2816 }),
        },
        vae: full_vae(1024, 0.13025),
        safety_checker: None,
        scheduler: Scheduler::Euler,
    }
}

fn tiny() -> Preset {
    Preset {
        pipeline: Pipeline::StableDiffusion,
        text_encoders: vec![ClipText {
            transformer: Transformer { hidden_size: 64, n_layers: 2, n_heads: 4 },
            projection_dim: 64,
            ..CLIP_L
        }],
        unet: UNet {
            sample_size: 16,
            channels: vec![64, 128],
            transformer_depths: vec![Some(1), None],
            n_heads: vec![4; 2],
            cross_attention_dim: 64,
            ..sd15().unet
        },
        vae: Vae { sample_size: 128, channels: vec![32, 64, 128, 128], scaling_factor: 0.18215 },
        safety_checker: Some(SafetyChecker {
            vision: Transformer { hidden_size: 64, n_layers: 2, n_heads: 4 },
            patch_size: 32,
            projection_dim: 48,
            text: Transformer { hidden_size: 64, n_layers: 1, n_heads: 2 },
            text_intermediate_size: 64,
        }),
        scheduler: Scheduler::Pndm,
    }
}
