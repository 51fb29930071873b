//! Configurations, read from the checkpoint's own `config.json` and validated.
//!
//! A configuration comes from outside: sizes are capped and checked against each other here, so
//! that building a network from a configuration neither panics nor overflows.
//! Keys that older checkpoints lack take the defaults that diffusers and transformers give them;
//! a variant that is not implemented is [`ModelError::Unsupported`](crate::ModelError) by name.

mod clip;
mod fields;
mod network;
mod unet;
mod vae;

pub use clip::{ClipActivation, ClipTextConfig, ClipTowerConfig, ClipVisionConfig, Pooling, SafetyCheckerConfig};
pub use network::NetworkConfig;
pub use unet::{AddedConditionConfig, TimestepConfig, TransformerConfig, UNetBlockConfig, UNetConfig};
pub use vae::VaeConfig;

/// Height and width, in the unit that the holder names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}
