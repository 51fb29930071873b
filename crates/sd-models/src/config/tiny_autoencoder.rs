//! Configuration of the small autoencoder (diffusers `AutoencoderTiny`, known as TAESD).

use sd_spec::keys::{AUTOENCODER_TINY, Table};

use super::Configuration;
use super::fields::{Fields, MAX_BLOCKS, MAX_CHANNELS, MAX_RESNETS};
use crate::{ModelError, Role};

/// The small autoencoder; both halves are built from it.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyAutoencoderConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Levels of the encoder, the picture's resolution first.
    pub encoder: TinyLevelsConfig,
    /// Levels of the decoder, the latent's resolution first.
    pub decoder: TinyLevelsConfig,
    /// What latents are multiplied with before the UNet sees them.
    pub scaling_factor: f64,
}

/// The levels of one half, each of half or twice the resolution of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TinyLevelsConfig {
    /// Channels of every level.
    pub channels: usize,
    /// Residual blocks of each level.
    pub n_blocks: Vec<usize>,
}

impl Configuration for TinyAutoencoderConfig {
    const ROLE: Role = Role::VaeDecoder;
    const KEYS: Table = AUTOENCODER_TINY;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let config = Self {
            in_channels: fields.size_or("in_channels", MAX_CHANNELS, 3)?,
            out_channels: fields.size_or("out_channels", MAX_CHANNELS, 3)?,
            latent_channels: fields.size_or("latent_channels", MAX_CHANNELS, 4)?,
            encoder: read_levels(fields, "encoder_block_out_channels", "num_encoder_blocks")?,
            decoder: read_levels(fields, "decoder_block_out_channels", "num_decoder_blocks")?,
            // Pipelines read it too, and have another default where it is absent.
            scaling_factor: fields.positive("scaling_factor")?,
        };
        if config.encoder.n_blocks.len() != config.decoder.n_blocks.len() {
            let expected = format!("one size for each of the encoder's {} levels", config.encoder.n_blocks.len());
            return Err(fields.contradiction("decoder_block_out_channels", &expected));
        }
        Ok(config)
    }
}

impl TinyAutoencoderConfig {
    /// Pixels per latent element along one side.
    #[must_use]
    pub fn scale(&self) -> usize {
        1 << (self.encoder.n_blocks.len() - 1)
    }
}

fn read_levels(fields: &Fields, channels: &str, blocks: &str) -> Result<TinyLevelsConfig, ModelError> {
    let sizes = fields.sizes(channels, MAX_CHANNELS, MAX_BLOCKS)?;
    // diffusers builds the convolution between two levels from the channels of one of them.
    if sizes.iter().any(|size| *size != sizes[0]) {
        return Err(fields.contradiction(channels, "the same channels on every level"));
    }
    let n_blocks = fields.size_per_block(blocks, MAX_RESNETS, sizes.len(), None)?;
    Ok(TinyLevelsConfig { channels: sizes[0], n_blocks })
}
