//! Halving and doubling of height and width.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};

use super::same_conv;
use crate::Resolution;

/// Where the stride-2 convolution sees zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownsamplePadding {
    /// One row or column on every side: the denoiser.
    AllSides,
    /// One at the bottom and one on the right: the autoencoder.
    FarSides,
}

/// A 3×3 convolution with stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv2d,
}

impl Downsample {
    pub(crate) fn init(channels: usize, padding: DownsamplePadding, device: &Device) -> Self {
        let near = match padding {
            DownsamplePadding::AllSides => 1,
            DownsamplePadding::FarSides => 0,
        };
        Self {
            conv: Conv2dConfig::new([channels, channels], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(near, near, 1, 1))
                .init(device),
        }
    }

    /// `[B, C, H, W]` to `[B, C, ⌈H/2⌉, ⌈W/2⌉]` (rounded down with padding on the far sides only).
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// Nearest-neighbour doubling, then a 3×3 convolution.
#[derive(Module, Debug)]
pub struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(crate) fn init(channels: usize, device: &Device) -> Self {
        Self { conv: same_conv(channels, channels, 3, device) }
    }

    /// `[B, C, H, W]` to `[B, C, 2H, 2W]`, or one row or column less where `target` says so.
    ///
    /// Halving rounds up, so the size to come back to is `2H` or `2H − 1`.
    /// Nearest-neighbour to `2H − 1` reads row `⌊i·H / (2H−1)⌋ = ⌊i/2⌋`, which is doubling and
    /// dropping the last row; a whole factor is what Core ML's upsampling wants.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, target: Option<Resolution>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
        let mut x = interpolate(x, options);
        if let Some(target) = target {
            if target.height < 2 * height {
                x = x.narrow(2, 0, target.height);
            }
            if target.width < 2 * width {
                x = x.narrow(3, 0, target.width);
            }
        }
        self.conv.forward(x)
    }
}
