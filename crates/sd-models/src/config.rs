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
mod rrdb_net;
mod t5;
mod tiny_autoencoder;
mod unet;
mod vae;

pub use clip::{ClipActivation, ClipTextConfig, ClipTowerConfig, ClipVisionConfig, Pooling, SafetyCheckerConfig};
pub use control_net::ControlNetConfig;
pub use linear::LinearLayerConfig;
pub use mmdit::MmditConfig;
pub use rrdb_net::RrdbNetConfig;
pub use t5::T5Config;
pub use tiny_autoencoder::{TinyAutoencoderConfig, TinyLevelsConfig};
pub use unet::{
    AddedConditionConfig, CORRECTED_SIDE, Residual, TimestepConfig, TransformerConfig, UNetBlockConfig, UNetConfig,
    UNetMidBlockConfig, WayDownConfig,
};
pub use vae::VaeConfig;

use std::fmt::Debug;

use sd_spec::Role;
use sd_spec::keys::Table;

use crate::error::ModelError;
use fields::Fields;

/// What a `config.json` says of a network.
pub trait Configuration: Sized + Clone + Debug + Send + Sync {
    /// The role that messages about the file name.
    const ROLE: Role;
    /// What becomes of each of its keys.
    const KEYS: Table;

    /// Reads the file's values.
    ///
    /// # Errors
    /// A [`ModelError`] that names key and value.
    fn read(fields: &Fields) -> Result<Self, ModelError>;

    /// Keys that no table knows; files with objects in them add those of the objects.
    fn unknown(fields: &Fields) -> Vec<String> {
        fields.unknown()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// A [`ModelError`] that names key and value.
    fn from_json(json: &[u8]) -> Result<Self, ModelError> {
        Self::read(&Fields::parse(Self::ROLE, json, Self::KEYS)?)
    }

    /// Keys of the file that no table knows, with the keys of the objects around them.
    ///
    /// # Errors
    /// As [`Configuration::from_json`], for values that are refused.
    fn unknown_keys(json: &[u8]) -> Result<Vec<String>, ModelError> {
        Ok(Self::unknown(&Fields::parse(Self::ROLE, json, Self::KEYS)?))
    }
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

    /// A reader asks for every key that its table says is followed.
    #[track_caller]
    fn check<C: Configuration>(json: &str) {
        let fields = Fields::parse(C::ROLE, json.as_bytes(), C::KEYS).expect(json);
        C::read(&fields).expect(json);
        assert_eq!(fields.unread(), [""; 0], "{} says that these are followed", C::KEYS.name);
    }

    #[test]
    fn what_the_tables_call_followed_is_read() {
        let unet = r#"{"block_out_channels": [32, 64], "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 64, "_diffusers_version": "0.6.0", "sample_size": 32,
            "num_attention_heads": 4, "reverse_transformer_layers_per_block": [1, 1], "mid_block_type": "UNetMidBlock2DCrossAttn",
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#;
        check::<UNetConfig>(unet);
        let mmdit = r#"{"caption_projection_dim": 1152}"#;
        check::<MmditConfig>(mmdit);
        let vae = r#"{"block_out_channels": [32], "down_block_types": ["DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D"]}"#;
        check::<VaeConfig>(vae);
        let tiny = r#"{"encoder_block_out_channels": [8], "decoder_block_out_channels": [8], "num_encoder_blocks": 1,
            "num_decoder_blocks": 1, "scaling_factor": 1.0}"#;
        check::<TinyAutoencoderConfig>(tiny);
        let linear = r#"{"in_features": 512, "out_features": 768, "bias": false}"#;
        check::<LinearLayerConfig>(linear);
        check::<RrdbNetConfig>("{}");
        let text = r#"{"architectures": ["CLIPTextModelWithProjection"]}"#;
        check::<ClipTextConfig>(text);
        let t5 = r#"{"feed_forward_proj": "gated-gelu"}"#;
        check::<T5Config>(t5);
        check::<ClipVisionConfig>("{}");
        let checker = r#"{"vision_config": {}}"#;
        check::<SafetyCheckerConfig>(checker);
    }
}
