//! Configurations, read from the checkpoint's own `config.json` and validated.
//!
//! A configuration comes from outside: sizes are capped and checked against each other here, so
//! that building a network from a configuration neither panics nor overflows.
//! Keys that older checkpoints lack take the defaults that diffusers and transformers give them;
//! a variant that is not implemented is [`ModelError::Unsupported`](crate::ModelError) by name.

mod clip;
mod control_net;
mod fields;
mod linear;
mod mmdit;
mod t5;
mod tiny_autoencoder;
mod unet;
mod vae;

pub use clip::{ClipActivation, ClipTextConfig, ClipTowerConfig, ClipVisionConfig, Pooling, SafetyCheckerConfig};
pub use control_net::ControlNetConfig;
pub use linear::LinearLayerConfig;
pub use mmdit::MmditConfig;
pub use t5::T5Config;
pub use tiny_autoencoder::{TinyAutoencoderConfig, TinyLevelsConfig};
pub use unet::{
    AddedConditionConfig, CORRECTED_SIDE, Residual, TimestepConfig, TransformerConfig, UNetBlockConfig, UNetConfig,
    UNetMidBlockConfig, WayDownConfig,
};
pub use vae::VaeConfig;

use std::fmt::Debug;

use crate::error::ModelError;

/// What a `config.json` says of a network.
pub trait Configuration: Sized + Clone + Debug + Send + Sync {
    /// Reads the file.
    ///
    /// # Errors
    /// A [`ModelError`] that names key and value.
    fn from_json(json: &[u8]) -> Result<Self, ModelError>;

    /// Keys of the file that no table knows, with the keys of the objects around them.
    ///
    /// # Errors
    /// As [`Configuration::from_json`], for values that are refused.
    fn unknown_keys(json: &[u8]) -> Result<Vec<String>, ModelError>;
}

/// Height and width, in the unit that the holder names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelError, Role};
    use fields::Fields;
    use sd_spec::keys::{self, Table};

    /// A reader asks for every key that its table says is followed.
    #[track_caller]
    fn check(role: Role, table: Table, json: &str, read: impl FnOnce(&Fields) -> Result<(), ModelError>) {
        let fields = Fields::parse(role, json.as_bytes(), table).expect(json);
        read(&fields).expect(json);
        assert_eq!(fields.unread(), [""; 0], "{} says that these are followed", table.name);
    }

    #[test]
    fn what_the_tables_call_followed_is_read() {
        let unet = r#"{"block_out_channels": [32, 64], "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 64, "_diffusers_version": "0.6.0", "sample_size": 32,
            "num_attention_heads": 4, "reverse_transformer_layers_per_block": [1, 1], "mid_block_type": "UNetMidBlock2DCrossAttn",
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#;
        check(Role::UNet, keys::UNET, unet, |f| UNetConfig::read(f).map(drop));
        let mmdit = r#"{"caption_projection_dim": 1152}"#;
        check(Role::Mmdit, keys::SD3_TRANSFORMER, mmdit, |f| MmditConfig::read(f).map(drop));
        let vae = r#"{"block_out_channels": [32], "down_block_types": ["DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D"]}"#;
        check(Role::VaeDecoder, keys::AUTOENCODER_KL, vae, |f| VaeConfig::read(f).map(drop));
        let tiny = r#"{"encoder_block_out_channels": [8], "decoder_block_out_channels": [8], "num_encoder_blocks": 1,
            "num_decoder_blocks": 1, "scaling_factor": 1.0}"#;
        check(Role::VaeDecoder, keys::AUTOENCODER_TINY, tiny, |f| TinyAutoencoderConfig::read(f).map(drop));
        let linear = r#"{"in_features": 512, "out_features": 768, "bias": false}"#;
        check(Role::MultilingualProjection, keys::LINEAR, linear, |f| LinearLayerConfig::read(f).map(drop));
        let text = r#"{"architectures": ["CLIPTextModelWithProjection"]}"#;
        check(Role::TextEncoder, keys::CLIP_TEXT, text, |f| ClipTextConfig::read(f).map(drop));
        let t5 = r#"{"feed_forward_proj": "gated-gelu"}"#;
        check(Role::TextEncoder3, keys::T5_ENCODER, t5, |f| T5Config::read(f).map(drop));
        check(Role::SafetyChecker, keys::CLIP_VISION, "{}", |f| ClipVisionConfig::read(f).map(drop));
        let checker = r#"{"vision_config": {}}"#;
        check(Role::SafetyChecker, keys::SAFETY_CHECKER, checker, |f| SafetyCheckerConfig::read(f).map(drop));
    }
}
