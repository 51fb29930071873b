//! Upscalers of the ESRGAN kind: residual-in-residual dense blocks, then doublings of height and width.
//!
//! One network for ESRGAN, Real-ESRGAN and what people trained from them; fields are called as BasicSR's `RRDBNet`
//! calls them, and `sd-checkpoint` knows the older names.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::leaky_relu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::same_conv;
use crate::{Facts, Features, Naming, Network, Resolution, Role, RrdbNetConfig, Sides};

/// What becomes of numbers below zero.
const SLOPE: f64 = 0.2;
/// What a block adds to what passes around it.
const RESIDUAL_SCALE: f64 = 0.2;
/// Layers of a dense block.
const N_LAYERS: usize = 5;
/// Sides that a picture, or a part of it, is upscaled in where nobody asks for others.
const USUAL_SIDE: usize = 256;
/// Longest side of such a part.
const MAX_SIDE: usize = 1024;

/// Pictures to larger ones.
#[derive(Module, Debug)]
pub struct RrdbNet {
    conv_first: Conv2d,
    body: Vec<Rrdb>,
    conv_body: Conv2d,
    conv_up: Vec<Conv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
    unshuffle: usize,
}

/// Three dense blocks around which their input passes.
#[derive(Module, Debug)]
struct Rrdb {
    rdb1: DenseBlock,
    rdb2: DenseBlock,
    rdb3: DenseBlock,
}

/// Convolutions of which each sees what all before it gave.
#[derive(Module, Debug)]
struct DenseBlock {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    conv4: Conv2d,
    conv5: Conv2d,
}

impl DenseBlock {
    fn init(features: usize, growth: usize, device: &Device) -> Self {
        let conv = |layer: usize| {
            let c_out = if layer + 1 == N_LAYERS { features } else { growth };
            same_conv(features + layer * growth, c_out, 3, device)
        };
        Self { conv1: conv(0), conv2: conv(1), conv3: conv(2), conv4: conv(3), conv5: conv(4) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut seen = vec![x.clone()];
        for conv in [&self.conv1, &self.conv2, &self.conv3, &self.conv4] {
            let all = if seen.len() == 1 { x.clone() } else { Tensor::cat(seen.clone(), 1) };
            seen.push(leaky_relu(conv.forward(all), SLOPE));
        }
        self.conv5.forward(Tensor::cat(seen, 1)) * RESIDUAL_SCALE + x
    }
}

impl Rrdb {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.rdb3.forward(self.rdb2.forward(self.rdb1.forward(x.clone())));
        inner * RESIDUAL_SCALE + x
    }
}

impl RrdbNet {
    /// # Shapes
    /// - x: `[B, channels, H, W]` in `[0, 1]`; `H` and `W` multiples of [`RrdbNetConfig::unshuffle`]
    /// - output: `[B, channels, H·factor, W·factor]`, about in `[0, 1]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = self.conv_first.forward(unshuffled(x, self.unshuffle));
        let body = self.body.iter().fold(first.clone(), |x, block| block.forward(x));
        let body = self.conv_body.forward(body) + first;
        let nearest = || InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]);
        let large = self.conv_up.iter().fold(body, |x, conv| {
            let doubled = interpolate(x, nearest());
            leaky_relu(conv.forward(doubled), SLOPE)
        });
        self.conv_last.forward(leaky_relu(self.conv_hr.forward(large), SLOPE))
    }
}

/// `[B, C, H, W]` to `[B, C·n², H/n, W/n]`: squares of pixels become the channels of one, as PyTorch's `pixel_unshuffle`
/// orders them. Core ML has no tensors of more than five dimensions, so batch and channels go as one.
fn unshuffled(x: Tensor<4>, n: usize) -> Tensor<4> {
    if n == 1 {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    let (rows, columns) = (height / n, width / n);
    let squares = x.reshape([batch * channels, rows, n, columns, n]).permute([0, 2, 4, 1, 3]);
    squares.reshape([batch, channels * n * n, rows, columns])
}

/// Doublings are numbered from 1 and stand in no list.
fn other_keys(key: &str) -> Vec<String> {
    let numbered = || {
        let (number, rest) = key.strip_prefix("conv_up.")?.split_once('.')?;
        Some(format!("conv_up{}.{rest}", number.parse::<usize>().ok()? + 1))
    };
    numbered().into_iter().collect()
}

impl Network for RrdbNet {
    type Config = RrdbNetConfig;
    const ROLES: &'static [Role] = &[Role::Upscaler];
    const CLASSES: &'static [&'static str] = &["RRDBNet"];
    const NAMING: Naming = Naming { other_keys, ..Naming::PATHS };

    fn facts(config: &RrdbNetConfig) -> Facts {
        Facts {
            dims: Dims::new().with(Axis::PictureChannels, config.channels),
            native: Some(Resolution { height: USUAL_SIDE, width: USUAL_SIDE }),
            sides: Some(Sides { multiple: config.unshuffle, max: MAX_SIDE }),
            // It has no latents: sizes are those of the picture that goes in.
            scale: Some(1),
            upscaling: Some(config.factor()),
            ..Facts::default()
        }
    }

    fn init(config: &RrdbNetConfig, device: &Device) -> Self {
        let RrdbNetConfig { channels, features, growth, n_blocks, n_doublings, unshuffle } = *config;
        let dense = || DenseBlock::init(features, growth, device);
        let conv = || same_conv(features, features, 3, device);
        Self {
            conv_first: same_conv(channels * unshuffle * unshuffle, features, 3, device),
            body: (0..n_blocks).map(|_| Rrdb { rdb1: dense(), rdb2: dense(), rdb3: dense() }).collect(),
            conv_body: conv(),
            conv_up: (0..n_doublings).map(|_| conv()).collect(),
            conv_hr: conv(),
            conv_last: same_conv(features, channels, 3, device),
            unshuffle,
        }
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let picture = features.real::<4>("picture")?;
        features.give("upscaled", self.forward(picture))
    }
}
