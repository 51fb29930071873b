//! Configuration of the autoencoder (diffusers `AutoencoderKL`).

use sd_spec::keys::{AUTOENCODER_KL, Table};

use super::fields::{Fields, MAX_BLOCKS, MAX_CHANNELS, MAX_RESNETS};
use super::{Configuration, Resolution, unet};
use crate::{ModelError, Role};

/// The autoencoder; both halves are built from it.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Channels of each level, the picture's resolution first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks per level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of every group norm; divides every level's channels.
    pub norm_groups: usize,
    /// Whether the middle block has self-attention.
    pub mid_block_attention: bool,
    /// Whether a 1×1 convolution follows the encoder.
    pub quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub post_quant_conv: bool,
    /// What latents are multiplied with before the denoiser sees them.
    pub scaling_factor: f64,
    /// What is subtracted from them before that.
    pub shift_factor: f64,
    /// Whether diffusers' pipelines of XL run it in full precision: training left values that half precision cannot hold.
    pub force_upcast: bool,
    /// The picture size that the checkpoint names, in pixels.
    pub sample_size: Option<Resolution>,
}

impl Configuration for VaeConfig {
    const ROLE: Role = Role::VaeDecoder;
    const KEYS: Table = AUTOENCODER_KL;

    fn read(fields: &Fields) -> Result<Self, ModelError> {
        let channels = fields.sizes("block_out_channels", MAX_CHANNELS, MAX_BLOCKS)?;
        for (key, only) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
            for kind in fields.texts(key, channels.len())? {
                if kind != only {
                    return Err(fields.unsupported(key, &kind.into(), "DownEncoderBlock2D, UpDecoderBlock2D"));
                }
            }
        }
        let norm_groups = fields.size_or("norm_num_groups", MAX_CHANNELS, 32)?;
        unet::require_groups_divide(fields, norm_groups, &channels)?;
        Ok(Self {
            in_channels: fields.size_or("in_channels", MAX_CHANNELS, 3)?,
            out_channels: fields.size_or("out_channels", MAX_CHANNELS, 3)?,
            latent_channels: fields.size_or("latent_channels", MAX_CHANNELS / 2, 4)?,
            layers_per_block: fields.size_or("layers_per_block", MAX_RESNETS, 1)?,
            norm_groups,
            mid_block_attention: fields.flag_or("mid_block_add_attention", true)?,
            quant_conv: fields.flag_or("use_quant_conv", true)?,
            post_quant_conv: fields.flag_or("use_post_quant_conv", true)?,
            scaling_factor: fields.positive_or("scaling_factor", 0.18215)?,
            shift_factor: fields.number_or("shift_factor", 0.0)?,
            force_upcast: fields.flag_or("force_upcast", true)?,
            sample_size: fields.resolution("sample_size")?,
            block_out_channels: channels,
        })
    }
}

impl VaeConfig {
    /// Pixels per latent element along one side: 8 for every Stable Diffusion.
    #[must_use]
    pub fn scale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}
