//! Configuration of T5's encoder (transformers `T5EncoderModel`).

use sd_spec::keys::{T5_ENCODER, Table};

use super::Configuration;
use super::fields::{Fields, MAX_CHANNELS, MAX_LAYERS, MAX_VOCABULARY};
use crate::{ModelError, Role};

const MAX_BUCKETS: usize = 1 << 12;
const MAX_DISTANCE: usize = 1 << 20;

/// A T5 encoder of version 1.1, whose feed-forward networks are gated.
#[derive(Clone, Debug, PartialEq)]
pub struct T5Config {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the states.
    pub dim: usize,
    /// Width inside the feed-forward networks.
    pub inner_dim: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Number of attention heads.
    pub n_heads: usize,
    /// Width of a head; all heads together need not be as wide as the states.
    pub head_dim: usize,
    /// Distances between tokens that are told apart, half of them in each direction.
    pub n_buckets: usize,
    /// The distance from which on all are one.
    pub max_distance: usize,
    /// Epsilon of every normalisation.
    pub epsilon: f64,
}

impl Configuration for T5Config {
    const ROLE: Role = Role::TextEncoder3;
    const KEYS: Table = T5_ENCODER;

    /// Defaults are those of transformers 5.24.
    fn read(fields: &Fields) -> Result<Self, ModelError> {
        // The default is the first T5's.
        match fields.text_or("feed_forward_proj", "relu")? {
            "gated-gelu" => {}
            other => return Err(fields.unsupported("feed_forward_proj", &other.into(), "gated-gelu")),
        }
        let config = Self {
            vocab_size: fields.size_or("vocab_size", MAX_VOCABULARY, 32_128)?,
            dim: fields.size_or("d_model", MAX_CHANNELS, 512)?,
            inner_dim: fields.size_or("d_ff", MAX_CHANNELS, 2048)?,
            n_layers: fields.size_or("num_layers", MAX_LAYERS, 6)?,
            n_heads: fields.size_or("num_heads", MAX_CHANNELS, 8)?,
            head_dim: fields.size_or("d_kv", MAX_CHANNELS, 64)?,
            n_buckets: fields.size_or("relative_attention_num_buckets", MAX_BUCKETS, 32)?,
            max_distance: fields.size_or("relative_attention_max_distance", MAX_DISTANCE, 128)?,
            epsilon: fields.positive_or("layer_norm_epsilon", 1e-6)?,
        };
        if config.attention_dim() > MAX_CHANNELS {
            let expected = format!("a number of heads of {} that are {MAX_CHANNELS} wide at most", config.head_dim);
            return Err(fields.contradiction("num_heads", &expected));
        }
        if config.n_buckets < 4 || !config.n_buckets.is_multiple_of(4) {
            return Err(fields.contradiction("relative_attention_num_buckets", "a multiple of 4"));
        }
        if config.max_distance <= config.n_buckets / 4 {
            let expected = format!("more than {}, the distances that have buckets of their own", config.n_buckets / 4);
            return Err(fields.contradiction("relative_attention_max_distance", &expected));
        }
        Ok(config)
    }
}

impl T5Config {
    /// Width of all heads together.
    #[must_use]
    pub const fn attention_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }
}
