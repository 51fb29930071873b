//! The denoiser (diffusers `UNet2DConditionModel`).

mod blocks;
mod conditions;
mod way_down;

pub use blocks::{DownBlock, UNetMidBlock, UpBlock};
pub use conditions::{AddedConditions, UNetConditions};

pub(crate) use blocks::BlockContext;
pub(crate) use conditions::Waves;
pub(crate) use way_down::{init_down_blocks, init_mid_block, walk_down};

use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::{TimestepEmbedding, same_conv};
use crate::{Facts, Features, Network, Role, UNetConfig, WayDownConfig};

/// Predicts the noise (or velocity) in a latent.
#[derive(Module, Debug)]
pub struct UNet {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<UNetMidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    waves: Waves,
    center_input_sample: bool,
}

impl UNetConfig {
    /// Builds the denoiser; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> UNet {
        let down = &self.way_down;
        let context = BlockContext::new(down, device);
        let finest = down.down_blocks[0].channels;
        UNet {
            conv_in: same_conv(down.in_channels, finest, down.conv_in_kernel, device),
            time_embedding: down.time.init(device),
            add_embedding: down.added.as_ref().map(|added| added.init(&down.time, device)),
            down_blocks: init_down_blocks(down, &context),
            mid_block: init_mid_block(down, &context),
            up_blocks: self.init_up_blocks(&context),
            conv_norm_out: context.norm.init(finest, device),
            conv_out: same_conv(finest, self.out_channels, self.conv_out_kernel, device),
            waves: Waves::of(down),
            center_input_sample: self.center_input_sample,
        }
    }

    /// Each up block takes, besides its input, the states that the mirrored down block left.
    fn init_up_blocks(&self, context: &BlockContext<'_>) -> Vec<UpBlock> {
        let last = self.up_blocks.len() - 1;
        let channels = |step: usize| self.up_blocks[step.min(last)].channels;
        self.up_blocks
            .iter()
            .enumerate()
            .map(|(step, block)| {
                let from = channels(step.saturating_sub(1));
                let finer = channels(step + 1);
                UpBlock::init(block, from, finer, step < last, context)
            })
            .collect()
    }
}

impl WayDownConfig {
    /// What a model for this configuration takes, by axis.
    pub(crate) fn dims(&self) -> Dims {
        let dims =
            Dims::new().with(Axis::SampleChannels, self.in_channels).with(Axis::TextWidth, self.cross_attention_dim);
        match self.time.guidance_dim {
            Some(width) => dims.with(Axis::GuidanceWidth, width),
            None => dims,
        }
    }
}

impl Network for UNet {
    type Config = UNetConfig;
    const ROLES: &'static [Role] = &[Role::UNet, Role::ControlledUNet, Role::Refiner];
    const CLASSES: &'static [&'static str] = &["UNet2DConditionModel"];

    fn facts(config: &UNetConfig) -> Facts {
        let down = &config.way_down;
        Facts {
            dims: down.dims().with(Axis::NoiseChannels, config.out_channels),
            native: config.sample_size,
            stated_side: config.stated_side,
            upcasts_attention: down.upcast_attention,
            added: down.added.clone(),
            residuals: down.residuals(),
            ..Facts::default()
        }
    }

    fn init(config: &UNetConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let sample = features.real::<4>("sample")?;
        let conditions = UNetConditions::of(features)?;
        let residuals = features.numbered::<4>("additional_residual_")?;
        features.give("noise_pred", self.forward(sample, conditions, residuals))
    }
}

impl UNet {
    /// One prediction.
    ///
    /// # Shapes
    /// - sample: `[B, in_channels, h, w]`
    /// - residuals: none, or those of [`WayDownConfig::residuals`], which are added to the states
    /// - output: `[B, out_channels, h, w]`
    ///
    /// # Panics
    /// If the configuration has added conditions and the conditions have none.
    #[must_use]
    pub fn forward(&self, sample: Tensor<4>, conditions: UNetConditions, residuals: Vec<Tensor<4>>) -> Tensor<4> {
        let (time, text) = self.waves.embed(conditions, &self.time_embedding, self.add_embedding.as_ref());
        let sample = match self.center_input_sample {
            true => sample * 2.0 - 1.0,
            false => sample,
        };
        let x = self.conv_in.forward(sample);
        let (mut x, mut skips) = walk_down(x, &self.down_blocks, self.mid_block.as_ref(), &time, &text);
        let mut residuals = residuals.into_iter();
        for (skip, residual) in skips.iter_mut().zip(residuals.by_ref()) {
            *skip = skip.clone() + residual;
        }
        if let Some(residual) = residuals.next() {
            x = x + residual;
        }
        for block in &self.up_blocks {
            x = block.forward(x, &time, &text, &mut skips);
        }
        self.conv_out.forward(silu(self.conv_norm_out.forward(x)))
    }
}
