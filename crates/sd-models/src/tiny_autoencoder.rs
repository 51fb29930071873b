//! The small autoencoder (diffusers `AutoencoderTiny`, known as TAESD), as two networks.
//!
//! Its encoder gives latents, not moments of a distribution.
//! Each half is one list of layers, as diffusers has it, so that positions in the list are the checkpoint's.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{PaddingConfig2d, Relu};
use burn::tensor::activation::relu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::same_conv;
use crate::weights::OTHER_HALF;
use crate::{Facts, Features, Naming, Network, Role, TinyAutoencoderConfig, TinyLevelsConfig};

const CLASSES: &[&str] = &["AutoencoderTiny"];
/// Latents beyond this are bent towards it before they are decoded.
const LATENT_BOUND: f64 = 3.0;

/// Pictures to latents.
#[derive(Module, Debug)]
pub struct TinyEncoder {
    encoder: Layers,
}

/// Latents to pictures.
#[derive(Module, Debug)]
pub struct TinyDecoder {
    decoder: Layers,
}

#[derive(Module, Debug)]
struct Layers {
    layers: Vec<Layer>,
}

/// What stands in a list of layers. The name of a variant is part of a parameter's path and of no key.
#[allow(clippy::large_enum_variant, reason = "lists of some twenty layers; a box would be part of the path")]
#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Relu(Relu),
    Block(Block),
    Upsample(Upsample),
}

/// Three convolutions around which the input passes.
#[derive(Module, Debug)]
struct Block {
    conv: Vec<BlockLayer>,
}

#[allow(clippy::large_enum_variant, reason = "lists of some twenty layers; a box would be part of the path")]
#[derive(Module, Debug)]
enum BlockLayer {
    Conv(Conv2d),
    Relu(Relu),
}

/// Nearest-neighbour doubling of height and width.
#[derive(Module, Debug)]
struct Upsample;

impl Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Relu(relu) => relu.forward(x),
            Self::Block(block) => block.forward(x),
            Self::Upsample(_) => {
                interpolate(x, InterpolateOptions::new(InterpolateMode::Nearest).with_scale_factor([2.0, 2.0]))
            }
        }
    }
}

impl Block {
    fn init(channels: usize, device: &Device) -> Self {
        let conv = || BlockLayer::Conv(same_conv(channels, channels, 3, device));
        let relu = || BlockLayer::Relu(Relu::new());
        Self { conv: vec![conv(), relu(), conv(), relu(), conv()] }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv.iter().fold(x.clone(), |x, layer| match layer {
            BlockLayer::Conv(conv) => conv.forward(x),
            BlockLayer::Relu(relu) => relu.forward(x),
        });
        relu(inner + x)
    }
}

impl Layers {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x))
    }

    fn encoder(config: &TinyAutoencoderConfig, device: &Device) -> Self {
        let TinyLevelsConfig { channels, n_blocks } = &config.encoder;
        let mut layers = Vec::new();
        for (level, n) in n_blocks.iter().enumerate() {
            layers.push(match level {
                0 => Layer::Conv(same_conv(config.in_channels, *channels, 3, device)),
                _ => Layer::Conv(unbiased_conv(*channels, 2, device)),
            });
            layers.extend((0..*n).map(|_| Layer::Block(Block::init(*channels, device))));
        }
        layers.push(Layer::Conv(same_conv(*channels, config.latent_channels, 3, device)));
        Self { layers }
    }

    fn decoder(config: &TinyAutoencoderConfig, device: &Device) -> Self {
        let TinyLevelsConfig { channels, n_blocks } = &config.decoder;
        let mut layers =
            vec![Layer::Conv(same_conv(config.latent_channels, *channels, 3, device)), Layer::Relu(Relu::new())];
        for (level, n) in n_blocks.iter().enumerate() {
            layers.extend((0..*n).map(|_| Layer::Block(Block::init(*channels, device))));
            if level + 1 < n_blocks.len() {
                layers.push(Layer::Upsample(Upsample));
                layers.push(Layer::Conv(unbiased_conv(*channels, 1, device)));
            }
        }
        layers.push(Layer::Conv(same_conv(*channels, config.out_channels, 3, device)));
        Self { layers }
    }
}

fn unbiased_conv(channels: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([channels, channels], [3, 3])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(device)
}

impl TinyEncoder {
    /// # Shapes
    /// - x: `[B, 3, H, W]` in `[−1, 1]`; `H` and `W` multiples of [`TinyAutoencoderConfig::scale`]
    /// - output: `[B, latent_channels, H / scale, W / scale]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.encoder.forward((x + 1.0) / 2.0)
    }
}

impl TinyDecoder {
    /// # Shapes
    /// - z: `[B, latent_channels, h, w]`
    /// - output: `[B, 3, h·scale, w·scale]`
    #[must_use]
    pub fn forward(&self, z: Tensor<4>) -> Tensor<4> {
        let z = (z / LATENT_BOUND).tanh() * LATENT_BOUND;
        self.decoder.forward(z) * 2.0 - 1.0
    }
}

fn facts(config: &TinyAutoencoderConfig, picture_channels: usize) -> Facts {
    Facts {
        dims: Dims::new()
            .with(Axis::LatentChannels, config.latent_channels)
            .with(Axis::MomentChannels, config.latent_channels)
            .with(Axis::PictureChannels, picture_channels),
        scale: Some(config.scale()),
        scaling_factor: Some(config.scaling_factor),
        words: &[("latent", "Latents, of which nothing is drawn")],
        ..Facts::default()
    }
}

/// A position in a list without the kind of the layer there: the checkpoint's key.
fn other_keys(key: &str) -> Vec<String> {
    vec![key.replace(".Conv.", ".").replace(".Block.", ".")]
}

impl Network for TinyEncoder {
    type Config = TinyAutoencoderConfig;
    const ROLES: &'static [Role] = &[Role::VaeEncoder];
    const CLASSES: &'static [&'static str] = CLASSES;
    const NAMING: Naming =
        Naming { other_keys, reason_to_ignore: |key| key.starts_with("decoder.").then_some(OTHER_HALF) };

    fn facts(config: &TinyAutoencoderConfig) -> Facts {
        facts(config, config.in_channels)
    }

    fn init(config: &TinyAutoencoderConfig, device: &Device) -> Self {
        Self { encoder: Layers::encoder(config, device) }
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let x = features.real::<4>("x")?;
        features.give("latent", self.forward(x))
    }
}

impl Network for TinyDecoder {
    type Config = TinyAutoencoderConfig;
    const ROLES: &'static [Role] = &[Role::VaeDecoder];
    const CLASSES: &'static [&'static str] = CLASSES;
    const NAMING: Naming =
        Naming { other_keys, reason_to_ignore: |key| key.starts_with("encoder.").then_some(OTHER_HALF) };

    fn facts(config: &TinyAutoencoderConfig) -> Facts {
        facts(config, config.out_channels)
    }

    fn init(config: &TinyAutoencoderConfig, device: &Device) -> Self {
        Self { decoder: Layers::decoder(config, device) }
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let z = features.real::<4>("z")?;
        features.give("image", self.forward(z))
    }
}
