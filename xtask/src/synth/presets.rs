//! The models whose shapes can be written, as data.

use std::fmt::Debug;

use serde_json::Value;

use super::{
    clip::{Activation, ClipText, SafetyChecker, Transformer},
    control_net::ControlNet,
    mmdit::Mmdit,
    pipeline::{Pipeline, Scheduler},
    t5::T5,
    tensors::TensorSpec,
    tiny_vae::TinyVae,
    tokenizer::{Padding, Tokenizer},
    unet::{Addition, Projection, UNet},
    vae::{Ends, Latents, Vae},
};

/// A model's name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PresetName {
    /// Stable Diffusion 1.5.
    Sd15,
    /// Stable Diffusion 1.5, trained to paint what a mask leaves open.
    #[value(name = "sd15-inpaint")]
    Sd15Inpaint,
    /// A `ControlNet` for Stable Diffusion 1.5, alone in its folder.
    Controlnet,
    /// The small autoencoder TAESD, alone in its folder.
    Taesd,
    /// Stable Diffusion 2.1 at 768 pixels.
    Sd21,
    /// Stable Diffusion XL 1.0 base.
    Sdxl,
    /// The refiner of Stable Diffusion XL 1.0.
    SdxlRefiner,
    /// Stable Diffusion 3 medium with all three text encoders.
    Sd3Medium,
    /// The shape of the golden checkpoint `tiny-sd15`.
    Tiny,
    /// The same, made to edit pictures by instructions.
    #[value(name = "tiny-pix2pix")]
    TinyPix2Pix,
}

impl PresetName {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What `smelt convert` needs to be told beside the checkpoint: for which pictures a network is that stands alone.
    pub(crate) const fn convert_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Controlnet => &["--size", "512x512"],
            _ => &[],
        }
    }
}

/// The Python library that a network's class is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Diffusers,
    Transformers,
    /// The part of diffusers beside the pipelines of Stable Diffusion.
    StableDiffusion,
}

impl Library {
    /// As `model_index.json` has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::Transformers => "transformers",
            Self::StableDiffusion => "stable_diffusion",
        }
    }

    /// What a file of weights is called, less its ending.
    pub(super) const fn weights(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusion_pytorch_model",
            Self::Transformers | Self::StableDiffusion => "model",
        }
    }
}

/// A network of a checkpoint.
pub(super) trait Network: Debug {
    /// Its class, and where that is from.
    fn class(&self) -> (Library, &'static str);

    /// `config.json`.
    fn config(&self, torch_dtype: &str) -> Value;

    /// The tensors of its file of weights.
    fn tensors(&self) -> Vec<TensorSpec>;
}

/// A network by its folder.
type Placed = (&'static str, Box<dyn Network>);

/// Every component of a checkpoint.
#[derive(Debug)]
pub(super) struct Preset {
    /// None for a network that is alone in its folder.
    pub(super) pipeline: Option<Pipeline>,
    pub(super) networks: Vec<Placed>,
    pub(super) tokenizers: Vec<(&'static str, Tokenizer)>,
    pub(super) scheduler: Option<Scheduler>,
}

impl Preset {
    pub(super) fn new(name: PresetName) -> Self {
        match name {
            PresetName::Sd15 => sd15(),
            PresetName::Sd15Inpaint => sd15_inpaint(),
            PresetName::Controlnet => control_net(),
            PresetName::Taesd => taesd(),
            PresetName::Sd21 => sd21(),
            PresetName::Sdxl => sdxl(),
            PresetName::SdxlRefiner => sdxl_refiner(),
            PresetName::Sd3Medium => sd3_medium(),
            PresetName::Tiny => tiny(Pipeline::StableDiffusion, LATENTS.n_channels),
            // Beside the latents stand those of the picture.
            PresetName::TinyPix2Pix => tiny(Pipeline::InstructPix2Pix, 2 * LATENTS.n_channels),
        }
    }

    /// Whether a network has this folder.
    pub(super) fn has(&self, folder: &str) -> bool {
        self.networks.iter().any(|(name, _)| *name == folder)
    }
}

const CLIP_L: ClipText = ClipText {
    transformer: Transformer { hidden_size: 768, n_layers: 12, n_heads: 12 },
    activation: Activation::QuickGelu,
    projection_dim: 768,
    has_projection: false,
};

const CLIP_G: ClipText = ClipText {
    transformer: Transformer { hidden_size: 1280, n_layers: 32, n_heads: 20 },
    activation: Activation::Gelu,
    projection_dim: 1280,
    has_projection: true,
};

const SAFETY_CHECKER: SafetyChecker = SafetyChecker {
    vision: Transformer { hidden_size: 1024, n_layers: 24, n_heads: 16 },
    patch_size: 14,
    projection_dim: 768,
    text: CLIP_L.transformer,
    text_intermediate_size: 3072,
};

/// SD 1.x pads with the end token, SD 2.x and the second tokenizer of XL with "!", OpenCLIP's zero.
const TOKENIZER: (&str, Tokenizer) = ("tokenizer", Tokenizer::Clip(Padding::EndToken));
const TOKENIZER_2: (&str, Tokenizer) = ("tokenizer_2", Tokenizer::Clip(Padding::Zero));

const LATENTS: Latents = Latents { n_channels: 4, shift: None, scale: 0.18215, ends: Ends::QuantConvs };
const LATENTS_OF_XL: Latents = Latents { scale: 0.13025, ..LATENTS };
const LATENTS_OF_SD3: Latents = Latents { n_channels: 16, shift: Some(0.0609), scale: 1.5305, ends: Ends::Nothing };

fn full_vae(sample_size: usize, latents: Latents) -> Vae {
    Vae { sample_size, channels: vec![128, 256, 512, 512], latents }
}

fn unet_of_sd15() -> UNet {
    UNet {
        sample_size: 64,
        in_channels: 4,
        channels: vec![320, 640, 1280, 1280],
        attends: vec![true, true, true, false],
        transformer_depths: vec![1; 4],
        n_heads: vec![8; 4],
        layers_per_block: 2,
        cross_attention_dim: 768,
        projection: Projection::Conv,
        upcast_attention: false,
        addition: None,
    }
}

fn unet_of_sdxl() -> UNet {
    UNet {
        sample_size: 128,
        channels: vec![320, 640, 1280],
        attends: vec![false, true, true],
        transformer_depths: vec![1, 2, 10],
        n_heads: vec![5, 10, 20],
        cross_attention_dim: 2048,
        projection: Projection::Linear,
        addition: Some(Addition { time_dim: 256, n_in: 2816 }),
        ..unet_of_sd15()
    }
}

fn sd1(pipeline: Pipeline, unet: UNet) -> Preset {
    Preset {
        pipeline: Some(pipeline),
        networks: vec![
            ("text_encoder", Box::new(CLIP_L)),
            ("unet", Box::new(unet)),
            ("vae", Box::new(full_vae(512, LATENTS))),
            ("safety_checker", Box::new(SAFETY_CHECKER)),
        ],
        tokenizers: vec![TOKENIZER],
        scheduler: Some(Scheduler::Pndm),
    }
}

fn sd15() -> Preset {
    sd1(Pipeline::StableDiffusion, unet_of_sd15())
}

/// Beside the latents stand a mask and the latents of the masked picture.
fn sd15_inpaint() -> Preset {
    sd1(Pipeline::Inpaint, UNet { in_channels: 9, ..unet_of_sd15() })
}

fn control_net() -> Preset {
    let network = ControlNet { unet: unet_of_sd15(), hint_channels: vec![16, 32, 96, 256] };
    Preset { pipeline: None, networks: vec![("", Box::new(network))], tokenizers: Vec::new(), scheduler: None }
}

fn taesd() -> Preset {
    let network = TinyVae { latent_channels: LATENTS.n_channels, width: 64, decoder_blocks: vec![3, 3, 3, 1] };
    Preset { pipeline: None, networks: vec![("", Box::new(network))], tokenizers: Vec::new(), scheduler: None }
}

fn sd21() -> Preset {
    let text_encoder = ClipText {
        transformer: Transformer { hidden_size: 1024, n_layers: 23, n_heads: 16 },
        activation: Activation::Gelu,
        projection_dim: 512,
        has_projection: false,
    };
    let unet = UNet {
        sample_size: 96,
        n_heads: vec![5, 10, 20, 20],
        cross_attention_dim: 1024,
        projection: Projection::Linear,
        upcast_attention: true,
        ..unet_of_sd15()
    };
    Preset {
        pipeline: Some(Pipeline::StableDiffusion),
        networks: vec![
            ("text_encoder", Box::new(text_encoder)),
            ("unet", Box::new(unet)),
            ("vae", Box::new(full_vae(768, LATENTS))),
        ],
        tokenizers: vec![("tokenizer", Tokenizer::Clip(Padding::Zero))],
        scheduler: Some(Scheduler::DdimVPrediction),
    }
}

fn sdxl() -> Preset {
    Preset {
        pipeline: Some(Pipeline::Xl),
        networks: vec![
            ("text_encoder", Box::new(CLIP_L)),
            ("text_encoder_2", Box::new(CLIP_G)),
            ("unet", Box::new(unet_of_sdxl())),
            ("vae", Box::new(full_vae(1024, LATENTS_OF_XL))),
        ],
        tokenizers: vec![TOKENIZER, TOKENIZER_2],
        scheduler: Some(Scheduler::Euler),
    }
}

fn sdxl_refiner() -> Preset {
    let unet = UNet {
        channels: vec![384, 768, 1536, 1536],
        attends: vec![false, true, true, false],
        transformer_depths: vec![4; 4],
        n_heads: vec![6, 12, 24, 24],
        cross_attention_dim: 1280,
        addition: Some(Addition { time_dim: 256, n_in: 2560 }),
        ..unet_of_sdxl()
    };
    Preset {
        pipeline: Some(Pipeline::XlRefiner),
        networks: vec![
            ("text_encoder_2", Box::new(CLIP_G)),
            ("unet", Box::new(unet)),
            ("vae", Box::new(full_vae(1024, LATENTS_OF_XL))),
        ],
        tokenizers: vec![TOKENIZER_2],
        scheduler: Some(Scheduler::Euler),
    }
}

fn sd3_medium() -> Preset {
    let transformer = Mmdit {
        sample_size: 128,
        channels: LATENTS_OF_SD3.n_channels,
        table_side: 192,
        n_layers: 24,
        n_heads: 24,
        text_dim: 4096,
        pooled_dim: 2048,
    };
    Preset {
        pipeline: Some(Pipeline::Sd3),
        networks: vec![
            ("text_encoder", Box::new(ClipText { has_projection: true, ..CLIP_L })),
            ("text_encoder_2", Box::new(CLIP_G)),
            ("text_encoder_3", Box::new(T5 { dim: 4096, inner_dim: 10240, n_layers: 24, n_heads: 64 })),
            ("transformer", Box::new(transformer)),
            ("vae", Box::new(full_vae(1024, LATENTS_OF_SD3))),
        ],
        tokenizers: vec![TOKENIZER, TOKENIZER_2, ("tokenizer_3", Tokenizer::T5)],
        scheduler: Some(Scheduler::FlowMatchEuler),
    }
}

fn tiny(pipeline: Pipeline, in_channels: usize) -> Preset {
    let text_encoder = ClipText {
        transformer: Transformer { hidden_size: 64, n_layers: 2, n_heads: 4 },
        projection_dim: 64,
        ..CLIP_L
    };
    let unet = UNet {
        sample_size: 16,
        in_channels,
        channels: vec![64, 128],
        attends: vec![true, false],
        transformer_depths: vec![1; 2],
        n_heads: vec![4; 2],
        cross_attention_dim: 64,
        ..unet_of_sd15()
    };
    let safety_checker = SafetyChecker {
        vision: Transformer { hidden_size: 64, n_layers: 2, n_heads: 4 },
        patch_size: 32,
        projection_dim: 48,
        text: Transformer { hidden_size: 64, n_layers: 1, n_heads: 2 },
        text_intermediate_size: 64,
    };
    let vae = Vae { sample_size: 128, channels: vec![32, 64, 128, 128], latents: LATENTS };
    Preset {
        pipeline: Some(pipeline),
        networks: vec![
            ("text_encoder", Box::new(text_encoder)),
            ("unet", Box::new(unet)),
            ("vae", Box::new(vae)),
            ("safety_checker", Box::new(safety_checker)),
        ],
        tokenizers: vec![TOKENIZER],
        scheduler: Some(Scheduler::Pndm),
    }
}
