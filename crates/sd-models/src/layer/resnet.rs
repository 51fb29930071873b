//! The residual convolution block.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, Linear};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use super::{NormConfig, linear, same_conv};

/// Sizes of one [`ResnetBlock`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetConfig {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    /// Width of the time embedding; the autoencoder has none.
    pub(crate) time_dim: Option<usize>,
    pub(crate) norm: NormConfig,
}

/// Two normalised convolutions with a shortcut (diffusers `ResnetBlock2D`).
#[derive(Module, Debug)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetConfig {
    pub(crate) fn init(self, device: &Device) -> ResnetBlock {
        let Self { in_channels, out_channels, time_dim, norm } = self;
        ResnetBlock {
            norm1: norm.init(in_channels, device),
            conv1: same_conv(in_channels, out_channels, 3, device),
            time_emb_proj: time_dim.map(|dim| linear(dim, out_channels, device)),
            norm2: norm.init(out_channels, device),
            conv2: same_conv(out_channels, out_channels, 3, device),
            conv_shortcut: (in_channels != out_channels)
                .then(|| Conv2dConfig::new([in_channels, out_channels], [1, 1]).init(device)),
        }
    }
}

impl ResnetBlock {
    /// # Shapes
    /// - x: `[B, C_in, H, W]`
    /// - activated_time: `[B, T]`, the time embedding *after* SiLU. diffusers applies SiLU in
    ///   every block; the value is the same for all of them, so the caller computes it once.
    /// - output: `[B, C_out, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, activated_time: Option<&Tensor<2>>) -> Tensor<4> {
        let mut hidden = self.conv1.forward(silu(self.norm1.forward(x.clone())));
        if let (Some(project), Some(time)) = (&self.time_emb_proj, activated_time) {
            let shift = project.forward(time.clone());
            let [batch, channels] = shift.dims();
            hidden = hidden + shift.reshape([batch, channels, 1, 1]);
        }
        let hidden = self.conv2.forward(silu(self.norm2.forward(hidden)));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        shortcut + hidden
    }
}
