//! The files that tie a checkpoint's networks together: `model_index.json`, the scheduler's and the picture processor's.

use serde_json::{Value, json};

use super::presets::Preset;

/// The pipeline class in diffusers, and what it says beside its components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipeline {
    StableDiffusion,
    Inpaint,
    InstructPix2Pix,
    Xl,
    /// XL's refiner, which diffusers runs from pictures.
    XlRefiner,
    Sd3,
}

/// Components that a pipeline of XL may have, whether they are there or not.
const OF_XL: [&str; 6] =
    ["feature_extractor", "image_encoder", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"];
/// Those of the older ones.
const OF_OLDER: [&str; 3] = ["feature_extractor", "image_encoder", "safety_checker"];

impl Pipeline {
    fn class(self) -> &'static str {
        match self {
            Self::StableDiffusion => "StableDiffusionPipeline",
            Self::Inpaint => "StableDiffusionInpaintPipeline",
            Self::InstructPix2Pix => "StableDiffusionInstructPix2PixPipeline",
            Self::Xl => "StableDiffusionXLPipeline",
            Self::XlRefiner => "StableDiffusionXLImg2ImgPipeline",
            Self::Sd3 => "StableDiffusion3Pipeline",
        }
    }

    /// Components that `model_index.json` names even where they are missing.
    const fn optional(self) -> &'static [&'static str] {
        match self {
            Self::StableDiffusion | Self::Inpaint | Self::InstructPix2Pix => &OF_OLDER,
            Self::Xl | Self::XlRefiner => &OF_XL,
            Self::Sd3 => &[],
        }
    }

    /// Whether `feature_extractor` is there, which prepares pictures for the safety checker.
    pub(super) const fn has_feature_extractor(self) -> bool {
        matches!(self, Self::StableDiffusion | Self::Inpaint | Self::InstructPix2Pix)
    }

    /// `model_index.json`.
    pub(super) fn model_index(self, preset: &Preset) -> Value {
        let mut index = json!({
            "_class_name": self.class(),
            "_diffusers_version": "0.30.2",
        });
        for &name in self.optional() {
            index[name] = json!([null, null]);
        }
        for (folder, network) in &preset.networks {
            let (library, class) = network.class();
            index[folder] = json!([library.name(), class]);
        }
        for (folder, tokenizer) in &preset.tokenizers {
            index[folder] = json!(["transformers", tokenizer.class()]);
        }
        if let Some(scheduler) = preset.scheduler {
            index["scheduler"] = json!(["diffusers", scheduler.class()]);
        }
        if self.has_feature_extractor() {
            index["feature_extractor"] = json!(["transformers", "CLIPImageProcessor"]);
        }
        match self {
            Self::StableDiffusion | Self::Inpaint | Self::InstructPix2Pix => {
                index["requires_safety_checker"] = (!index["safety_checker"][0].is_null()).into();
            }
            Self::Xl | Self::XlRefiner => {
                index["add_watermarker"] = Value::Null;
                index["force_zeros_for_empty_prompt"] = (self == Self::Xl).into();
            }
            Self::Sd3 => {}
        }
        if self == Self::XlRefiner {
            index["requires_aesthetics_score"] = true.into();
        }
        index
    }
}

/// The sampler that the checkpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduler {
    Pndm,
    DdimVPrediction,
    Euler,
    FlowMatchEuler,
}

impl Scheduler {
    fn class(self) -> &'static str {
        match self {
            Self::Pndm => "PNDMScheduler",
            Self::DdimVPrediction => "DDIMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::FlowMatchEuler => "FlowMatchEulerDiscreteScheduler",
        }
    }

    /// `scheduler_config.json`.
    pub(super) fn config(self) -> Value {
        if self == Self::FlowMatchEuler {
            return self.flow();
        }
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
            Self::FlowMatchEuler => {}
        }
        config
    }

    /// Flows have no betas; a shift moves their times towards noise.
    fn flow(self) -> Value {
        json!({
            "_class_name": self.class(),
            "_diffusers_version": "0.30.2",
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 4096,
            "max_shift": 1.15,
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": false,
        })
    }
}

/// The settings of CLIP's image processor (OpenAI CLIP ViT-L/14).
pub(super) fn feature_extractor() -> Value {
    json!({
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": true,
        "do_convert_rgb": true,
        "do_normalize": true,
        "do_rescale": true,
        "do_resize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 224},
    })
}
