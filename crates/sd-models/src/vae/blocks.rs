//! One level of the autoencoder, and its middle.

use burn::module::Module;
use burn::nn::{GroupNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::layer::{
    Downsample, DownsamplePadding, NormConfig, ResnetBlock, ResnetConfig, Upsample, linear, multi_head_attention,
};

/// Residual blocks, then halving (diffusers `DownEncoderBlock2D`).
#[derive(Module, Debug)]
pub struct EncoderBlock {
    resnets: Vec<ResnetBlock>,
    downsamplers: Vec<Downsample>,
}

impl EncoderBlock {
    pub(super) fn init(sizes: [usize; 2], n_layers: usize, halve: bool, norm: NormConfig, device: &Device) -> Self {
        let padding = DownsamplePadding::FarSides;
        Self {
            resnets: resnets(sizes, n_layers, norm, device),
            downsamplers: halve.then(|| Downsample::init(sizes[1], padding, device)).into_iter().collect(),
        }
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H/2, W/2]` (last level: `[B, C_out, H, W]`).
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = run(&self.resnets, x);
        self.downsamplers.iter().fold(x, |x, down| down.forward(x))
    }
}

/// Residual blocks, then doubling (diffusers `UpDecoderBlock2D`).
#[derive(Module, Debug)]
pub struct DecoderBlock {
    resnets: Vec<ResnetBlock>,
    upsamplers: Vec<Upsample>,
}

impl DecoderBlock {
    pub(super) fn init(sizes: [usize; 2], n_layers: usize, double: bool, norm: NormConfig, device: &Device) -> Self {
        Self {
            resnets: resnets(sizes, n_layers, norm, device),
            upsamplers: double.then(|| Upsample::init(sizes[1], device)).into_iter().collect(),
        }
    }

    /// `[B, C_in, H, W]` to `[B, C_out, 2H, 2W]` (last level: `[B, C_out, H, W]`).
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = run(&self.resnets, x);
        self.upsamplers.iter().fold(x, |x, up| up.forward(x, None))
    }
}

/// Residual, attention, residual (diffusers `UNetMidBlock2D`).
#[derive(Module, Debug)]
pub struct MidBlock {
    attentions: Vec<VaeAttention>,
    resnets: Vec<ResnetBlock>,
}

impl MidBlock {
    pub(super) fn init(channels: usize, attention: bool, norm: NormConfig, device: &Device) -> Self {
        Self {
            attentions: attention.then(|| VaeAttention::init(channels, norm, device)).into_iter().collect(),
            resnets: resnets([channels, channels], 2, norm, device),
        }
    }

    /// `[B, C, H, W]` to `[B, C, H, W]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (first, rest) = self.resnets.split_at(1);
        let x = run(first, x);
        let x = self.attentions.iter().fold(x, |x, layer| layer.forward(x));
        run(rest, x)
    }
}

/// Self-attention over positions with a single head.
#[derive(Module, Debug)]
pub struct VaeAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
}

impl VaeAttention {
    fn init(channels: usize, norm: NormConfig, device: &Device) -> Self {
        let project = || linear(channels, channels, device);
        Self {
            group_norm: norm.init(channels, device),
            to_q: project(),
            to_k: project(),
            to_v: project(),
            to_out: vec![project()],
        }
    }

    /// `[B, C, H, W]` to `[B, C, H, W]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = self.group_norm.forward(x.clone()).reshape([batch, channels, height * width]).swap_dims(1, 2);
        let query = self.to_q.forward(tokens.clone());
        let key = self.to_k.forward(tokens.clone());
        let value = self.to_v.forward(tokens);
        let attended = multi_head_attention(query, key, value, 1, None);
        let tokens = self.to_out.iter().fold(attended, |t, layer| layer.forward(t));
        let map = tokens.swap_dims(1, 2).reshape([batch, channels, height, width]);
        map + x
    }
}

fn resnets([from, to]: [usize; 2], n_layers: usize, norm: NormConfig, device: &Device) -> Vec<ResnetBlock> {
    (0..n_layers)
        .map(|layer_idx| {
            let config = ResnetConfig {
                in_channels: if layer_idx == 0 { from } else { to },
                out_channels: to,
                time_dim: None,
                norm,
            };
            config.init(device)
        })
        .collect()
}

fn run(resnets: &[ResnetBlock], x: Tensor<4>) -> Tensor<4> {
    resnets.iter().fold(x, |x, block| block.forward(x, None))
}
