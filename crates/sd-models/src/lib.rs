//! Stable Diffusion networks as plain Burn modules, configured from a diffusers checkpoint.
//!
//! Every network stands here once, in the standard diffusers form: linear layers on `[B, S, C]`,
//! convolutions on `[B, C, H, W]`, one attention call per attention.
//! Types say the thing ([`UNet`], [`ResnetBlock`](layer::ResnetBlock)); *fields* carry the
//! checkpoint's names, so that the path of a parameter is the key of its tensor in the checkpoint.
//! What differs (transposed linear weights, Burn's `gamma` and `beta`, old key names) is written
//! down in [`weights`], which also compares a checkpoint with a module and reports every tensor
//! that is missing, unused or of another shape.
//!
//! The life of a network is *config → init → call*: [`NetworkConfig`] is the configuration of any of them, and [`Network::call`]
//! maps the features of its role ([`sd_spec::RoleSpec`]) to its `forward`, for whoever records it and whoever executes it.
//! ```
//! use sd_models::{Configuration, ControlNetConfig, VaeConfig};
//! let config = VaeConfig::from_json(
//!     br#"{"block_out_channels": [32, 64], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
//!         "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]}"#,
//! )?;
//! assert_eq!(config.scale(), 2);
//! # Ok::<(), sd_models::ModelError>(())
//! ```
//!
//! What this crate deliberately does not do: read files, hold weights, know of graph capture, MIL
//! or Core ML, or say in which layout attention runs.

pub mod clip;
pub mod control_net;
pub mod layer;
pub mod mmdit;
pub mod multilingual_projection;
pub mod rrdb_net;
pub mod safety_checker;
pub mod t5;
pub mod tiny_autoencoder;
pub mod unet;
pub mod vae;
pub mod weights;

mod config;
mod error;
mod network;
mod networks;

pub use clip::{ClipTextEncoder, ClipTextOutput};
pub use config::{
    AddedConditionConfig, CORRECTED_SIDE, ClipActivation, ClipTextConfig, ClipTowerConfig, ClipVisionConfig,
    Configuration, ControlNetConfig, LinearLayerConfig, MmditConfig, Pooling, Residual, Resolution, RrdbNetConfig,
    SafetyCheckerConfig, T5Config, TimestepConfig, TinyAutoencoderConfig, TinyLevelsConfig, TransformerConfig,
    UNetBlockConfig, UNetConfig, UNetMidBlockConfig, VaeConfig, WayDownConfig,
};
pub use control_net::ControlNet;
pub use error::ModelError;
pub use mmdit::Mmdit;
pub use multilingual_projection::MultilingualProjection;
pub use network::{Facts, Features, Network, Sides, WithNetwork};
pub use networks::NetworkConfig;
pub use rrdb_net::RrdbNet;
pub use safety_checker::{SafetyChecker, SafetyVerdict};
pub use sd_spec::Role;
pub use t5::T5Encoder;
pub use tiny_autoencoder::{TinyDecoder, TinyEncoder};
pub use unet::{AddedConditions, UNet, UNetConditions};
pub use vae::{VaeDecoder, VaeEncoder};
pub use weights::{ByteRelation, CheckpointTensor, LoadReport, Naming, Parameter};
