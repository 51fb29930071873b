//! What goes into the blocks: patches with their positions, and one vector of step and pooled text.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

use crate::layer::{TimestepEmbedding, sinusoid};
use crate::{MmditConfig, TimestepConfig};

/// Patches as tokens, each with its position's vector (diffusers `PatchEmbed`).
#[derive(Module, Debug)]
pub struct PatchEmbed {
    proj: Conv2d,
    /// `[1, side · side, C]`: a square of positions, of which a picture takes the middle.
    pos_embed: Param<Tensor<3>>,
    patch: usize,
    table_side: usize,
}

impl PatchEmbed {
    pub(super) fn init(config: &MmditConfig, device: &Device) -> Self {
        let MmditConfig { patch, table_side, .. } = *config;
        let dim = config.dim();
        Self {
            proj: Conv2dConfig::new([config.in_channels, dim], [patch, patch]).with_stride([patch, patch]).init(device),
            pos_embed: Initializer::Zeros.init([1, table_side * table_side, dim], device),
            patch,
            table_side,
        }
    }

    /// `[B, C_in, h, w]` to `[B, h/p · w/p, C]`.
    ///
    /// # Panics
    /// If a side has more patches than the table.
    #[must_use]
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<3> {
        let [_, _, height, width] = latents.dims();
        let [height, width] = [height / self.patch, width / self.patch];
        let map = self.proj.forward(latents);
        let [batch, dim, ..] = map.dims();
        let tokens = map.reshape([batch, dim, height * width]).swap_dims(1, 2);
        tokens + self.positions(height, width)
    }

    /// The middle of the table (diffusers 0.42.1 `cropped_pos_embed`).
    fn positions(&self, height: usize, width: usize) -> Tensor<3> {
        let side = self.table_side;
        let table = self.pos_embed.val();
        let [_, _, dim] = table.dims();
        let table = table.reshape([side, side, dim]);
        let middle = table.narrow(0, (side - height) / 2, height).narrow(1, (side - width) / 2, width);
        middle.reshape([1, height * width, dim])
    }
}

/// One vector of the step and the pooled text (diffusers `CombinedTimestepTextProjEmbeddings`).
#[derive(Module, Debug)]
pub struct TimeTextEmbed {
    timestep_embedder: TimestepEmbedding,
    text_embedder: TimestepEmbedding,
    #[module(skip)]
    time: TimestepConfig,
}

impl TimeTextEmbed {
    pub(super) fn init(dim: usize, pooled_dim: usize, device: &Device) -> Self {
        let time = TimestepConfig {
            // diffusers 0.42.1: Timesteps(num_channels=256, flip_sin_to_cos=True, downscale_freq_shift=0).
            channels: 256,
            embed_dim: dim,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            guidance_dim: None,
        };
        Self {
            timestep_embedder: time.init(device),
            text_embedder: TimestepEmbedding::init(pooled_dim, None, dim, device),
            time,
        }
    }

    /// `[B]` and `[B, P]` to `[B, C]`.
    #[must_use]
    pub fn forward(&self, timestep: Tensor<1>, pooled: Tensor<2>) -> Tensor<2> {
        let wave = sinusoid(timestep, self.time.channels, &self.time);
        self.timestep_embedder.forward(wave, None) + self.text_embedder.forward(pooled, None)
    }
}
