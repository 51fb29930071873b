//! The autoencoder between pictures and latents, as two networks.
//!
//! Pictures are in `[−1, 1]`; the scaling factor is not applied here.

mod blocks;

pub use blocks::{DecoderBlock, EncoderBlock, MidBlock, VaeAttention};

use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::{NormConfig, same_conv};
use crate::weights::OTHER_HALF;
use crate::{Facts, Features, Naming, Network, Role, VaeConfig};

/// Pictures to latent moments.
#[derive(Module, Debug)]
pub struct VaeEncoder {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
}

impl VaeEncoder {
    /// Mean and log-variance of the latent, one after the other and unsampled.
    ///
    /// # Shapes
    /// - x: `[B, 3, H, W]`; `H` and `W` multiples of [`VaeConfig::scale`]
    /// - output: `[B, 2·latent_channels, H / scale, W / scale]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let moments = self.encoder.forward(x);
        match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        }
    }
}

/// Latents to pictures.
#[derive(Module, Debug)]
pub struct VaeDecoder {
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
}

impl VaeDecoder {
    /// # Shapes
    /// - z: `[B, latent_channels, h, w]`, divided by the scaling factor already
    /// - output: `[B, 3, h·scale, w·scale]`
    #[must_use]
    pub fn forward(&self, z: Tensor<4>) -> Tensor<4> {
        let z = match &self.post_quant_conv {
            Some(conv) => conv.forward(z),
            None => z,
        };
        self.decoder.forward(z)
    }
}

fn facts(config: &VaeConfig, picture_channels: usize) -> Facts {
    Facts {
        dims: Dims::new()
            .with(Axis::LatentChannels, config.latent_channels)
            .with(Axis::MomentChannels, 2 * config.latent_channels)
            .with(Axis::PictureChannels, picture_channels),
        native: config.sample_size,
        scale: Some(config.scale()),
        scaling_factor: Some(config.scaling_factor),
        shift_factor: Some(config.shift_factor),
        leaves_half: config.force_upcast,
        ..Facts::default()
    }
}

/// diffusers before 0.17 had another attention class here.
fn other_keys(key: &str) -> Vec<String> {
    let old = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];
    old.into_iter().filter(|(new, _)| key.contains(new)).map(|(new, old)| key.replace(new, old)).collect()
}

fn reason_to_ignore(key: &str, other_half: [&str; 2]) -> Option<&'static str> {
    let other = other_half.iter().any(|prefix| key.starts_with(prefix)).then_some(OTHER_HALF);
    other.or_else(|| key.starts_with("loss.").then_some("belongs to the discriminator of the training"))
}

const CLASSES: &[&str] = &["AutoencoderKL"];

impl Network for VaeDecoder {
    type Config = VaeConfig;
    const ROLES: &'static [Role] = &[Role::VaeDecoder];
    const CLASSES: &'static [&'static str] = CLASSES;
    const NAMING: Naming =
        Naming { other_keys, reason_to_ignore: |key| reason_to_ignore(key, ["encoder.", "quant_conv."]) };

    fn facts(config: &VaeConfig) -> Facts {
        facts(config, config.out_channels)
    }

    fn init(config: &VaeConfig, device: &Device) -> Self {
        config.init_decoder(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let z = features.real::<4>("z")?;
        features.give("image", self.forward(z))
    }
}

impl Network for VaeEncoder {
    type Config = VaeConfig;
    const ROLES: &'static [Role] = &[Role::VaeEncoder];
    const CLASSES: &'static [&'static str] = CLASSES;
    const NAMING: Naming =
        Naming { other_keys, reason_to_ignore: |key| reason_to_ignore(key, ["decoder.", "post_quant_conv."]) };

    fn facts(config: &VaeConfig) -> Facts {
        facts(config, config.in_channels)
    }

    fn init(config: &VaeConfig, device: &Device) -> Self {
        config.init_encoder(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let x = features.real::<4>("x")?;
        features.give("latent", self.forward(x))
    }
}

impl VaeConfig {
    /// Builds the encoder; its weights are initialised when they are first used.
    #[must_use]
    pub fn init_encoder(&self, device: &Device) -> VaeEncoder {
        let moments = 2 * self.latent_channels;
        VaeEncoder {
            encoder: Encoder::init(self, device),
            quant_conv: self.quant_conv.then(|| pointwise_conv(moments, moments, device)),
        }
    }

    /// Builds the decoder; its weights are initialised when they are first used.
    #[must_use]
    pub fn init_decoder(&self, device: &Device) -> VaeDecoder {
        let channels = self.latent_channels;
        VaeDecoder {
            post_quant_conv: self.post_quant_conv.then(|| pointwise_conv(channels, channels, device)),
            decoder: Decoder::init(self, device),
        }
    }

    /// diffusers builds every norm of the autoencoder with epsilon 1e-6.
    fn norm(&self) -> NormConfig {
        NormConfig { groups: self.norm_groups, eps: 1e-6 }
    }
}

/// The convolutional encoder (diffusers `Encoder`).
#[derive(Module, Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<EncoderBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn init(config: &VaeConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let norm = config.norm();
        let down_blocks = (0..channels.len())
            .map(|level| {
                let halve = level + 1 < channels.len();
                let from = channels[level.saturating_sub(1)];
                let sizes = [from, channels[level]];
                EncoderBlock::init(sizes, config.layers_per_block, halve, norm, device)
            })
            .collect();
        Self {
            conv_in: same_conv(config.in_channels, first, 3, device),
            down_blocks,
            mid_block: MidBlock::init(last, config.mid_block_attention, norm, device),
            conv_norm_out: norm.init(last, device),
            conv_out: same_conv(last, 2 * config.latent_channels, 3, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.down_blocks.iter().fold(self.conv_in.forward(x), |x, block| block.forward(x));
        let x = self.mid_block.forward(x);
        self.conv_out.forward(silu(self.conv_norm_out.forward(x)))
    }
}

/// The convolutional decoder (diffusers `Decoder`).
#[derive(Module, Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<DecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn init(config: &VaeConfig, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let norm = config.norm();
        let up_blocks = (0..channels.len())
            .rev()
            .map(|level| {
                let from = channels[(level + 1).min(channels.len() - 1)];
                let sizes = [from, channels[level]];
                DecoderBlock::init(sizes, config.layers_per_block + 1, level > 0, norm, device)
            })
            .collect();
        Self {
            conv_in: same_conv(config.latent_channels, last, 3, device),
            mid_block: MidBlock::init(last, config.mid_block_attention, norm, device),
            up_blocks,
            conv_norm_out: norm.init(first, device),
            conv_out: same_conv(first, config.out_channels, 3, device),
        }
    }

    fn forward(&self, z: Tensor<4>) -> Tensor<4> {
        let x = self.mid_block.forward(self.conv_in.forward(z));
        let x = self.up_blocks.iter().fold(x, |x, block| block.forward(x));
        self.conv_out.forward(silu(self.conv_norm_out.forward(x)))
    }
}

fn pointwise_conv(c_in: usize, c_out: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([c_in, c_out], [1, 1]).init(device)
}
