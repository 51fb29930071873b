//! Building blocks that the networks share.
//!
//! Each type is one diffusers module; its fields carry the checkpoint's names.

mod attention;
mod resample;
mod resnet;
mod timestep;
mod transformer;

pub use attention::{Attention, multi_head_attention};
pub use resample::{Downsample, Upsample};
pub use resnet::ResnetBlock;
pub use timestep::{TimestepEmbedding, sinusoid};
pub use transformer::{FeedForward, GeGlu, GeluFeedForward, GeluProjection, SpatialTransformer, TransformerBlock};

pub(crate) use attention::MASKED;
pub(crate) use resample::DownsamplePadding;
pub(crate) use resnet::ResnetConfig;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Device;

/// Groups and epsilon, common to all group norms of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormConfig {
    pub(crate) groups: usize,
    pub(crate) eps: f64,
}

impl NormConfig {
    pub(crate) fn init(self, channels: usize, device: &Device) -> GroupNorm {
        GroupNormConfig::new(self.groups, channels).with_epsilon(self.eps).init(device)
    }
}

/// A convolution with an odd square kernel that keeps height and width.
pub(crate) fn same_conv(c_in: usize, c_out: usize, kernel: usize, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([c_in, c_out], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .init(device)
}

pub(crate) fn linear(d_in: usize, d_out: usize, device: &Device) -> Linear {
    LinearConfig::new(d_in, d_out).init(device)
}

pub(crate) fn linear_without_bias(d_in: usize, d_out: usize, device: &Device) -> Linear {
    LinearConfig::new(d_in, d_out).with_bias(false).init(device)
}
