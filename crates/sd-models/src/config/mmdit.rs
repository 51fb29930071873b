//! Configuration of the transformer over text and picture (diffusers `SD3Transformer2DModel`).

use sd_spec::keys::{SD3_TRANSFORMER, Table};

use super::Configuration;
use super::fields::{Fields, MAX_CHANNELS, MAX_LAYERS};
use crate::{ModelError, Role};

/// Largest side of a patch; 2 in every released model.
const MAX_PATCH: usize = 16;
/// Largest side of the table of positions; that of SD3.5 medium has 384.
const MAX_TABLE: usize = 1 << 12;
/// Largest side of the latents that a checkpoint can be made for.
const MAX_NATIVE: usize = 1 << 12;

/// The denoiser of Stable Diffusion 3 and 3.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MmditConfig {
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of what comes out.
    pub out_channels: usize,
    /// Side of a patch, in latent pixels.
    pub patch: usize,
    /// Side of the table of positions, in patches.
    pub table_side: usize,
    /// Side of the latents that the checkpoint was made for.
    pub native_side: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Number of attention heads.
    pub n_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of a token of the text.
    pub text_dim: usize,
    /// Width of the pooled text.
    pub pooled_dim: usize,
    /// Whether queries and keys are normalised head by head: SD3.5.
    pub normalizes_heads: bool,
    /// Blocks in which the picture attends to itself once more: SD3.5 medium.
    pub dual_layers: Vec<usize>,
}

impl Configuration for MmditConfig {
    const ROLE: Role = Role::Mmdit;
    const KEYS: Table = SD3_TRANSFORMER;

    /// Defaults are those of diffusers 0.42.1.
    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let in_channels = fields.size_or("in_channels", MAX_CHANNELS, 16)?;
        let n_layers = fields.size_or("num_layers", MAX_LAYERS, 18)?;
        let config = Self {
            in_channels,
            out_channels: fields.size_or("out_channels", MAX_CHANNELS, 16)?,
            patch: fields.size_or("patch_size", MAX_PATCH, 2)?,
            table_side: fields.size_or("pos_embed_max_size", MAX_TABLE, 96)?,
            native_side: fields.size_or("sample_size", MAX_NATIVE, 128)?,
            n_layers,
            n_heads: fields.size_or("num_attention_heads", MAX_CHANNELS, 18)?,
            head_dim: fields.size_or("attention_head_dim", MAX_CHANNELS, 64)?,
            text_dim: fields.size_or("joint_attention_dim", MAX_CHANNELS, 4096)?,
            pooled_dim: fields.size_or("pooled_projection_dim", MAX_CHANNELS, 2048)?,
            normalizes_heads: fields.has("qk_norm"),
            dual_layers: fields.indices("dual_attention_layers", n_layers)?,
        };
        if config.dim() > MAX_CHANNELS {
            let expected = format!("a number of heads of {} that are {MAX_CHANNELS} wide at most", config.head_dim);
            return Err(fields.contradiction("num_attention_heads", &expected));
        }
        // The text goes through the same blocks as the picture.
        let key = "caption_projection_dim";
        if fields.size_or(key, MAX_CHANNELS, 1152)? != config.dim() {
            let expected = format!("{}, which is num_attention_heads × attention_head_dim", config.dim());
            return Err(fields.contradiction(key, &expected));
        }
        Ok(config)
    }
}

impl MmditConfig {
    /// Width of a token in the blocks.
    #[must_use]
    pub const fn dim(&self) -> usize {
        self.n_heads * self.head_dim
    }
}
