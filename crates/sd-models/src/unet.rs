//! The denoiser (diffusers `UNet2DConditionModel`).

mod blocks;

pub use blocks::{DownBlock, UNetMidBlock, UpBlock};

use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::{NormConfig, TimestepEmbedding, same_conv, sinusoid};
use crate::{AddedConditionConfig, Facts, Features, Network, Role, TimestepConfig, UNetConfig};
use blocks::BlockContext;

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
    time: TimestepConfig,
    #[module(skip)]
    added: Option<AddedConditionConfig>,
    center_input_sample: bool,
}

/// XL's second conditioning.
#[derive(Debug)]
pub struct AddedConditions {
    /// Pooled text, `[B, P]`.
    pub text_embeds: Tensor<2>,
    /// Original size, crop and target size, or the aesthetic score, `[B, 6]` (refiner `[B, 5]`).
    pub time_ids: Tensor<2>,
}

impl UNetConfig {
    /// Builds the denoiser; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> UNet {
        let context = BlockContext {
            text_dim: self.cross_attention_dim,
            time_dim: self.time.embed_dim,
            norm: NormConfig { groups: self.norm_groups, eps: self.norm_eps },
            device,
        };
        let finest = self.down_blocks[0].channels;
        let coarsest = self.down_blocks[self.down_blocks.len() - 1].channels;
        UNet {
            conv_in: same_conv(self.in_channels, finest, self.conv_in_kernel, device),
            time_embedding: TimestepEmbedding::init(self.time.channels, self.time.embed_dim, device),
            add_embedding: self
                .added
                .as_ref()
                .map(|added| TimestepEmbedding::init(added.input_dim, self.time.embed_dim, device)),
            down_blocks: self.init_down_blocks(&context),
            mid_block: self.mid_block.as_ref().map(|config| UNetMidBlock::init(config, coarsest, &context)),
            up_blocks: self.init_up_blocks(&context),
            conv_norm_out: context.norm.init(finest, device),
            conv_out: same_conv(finest, self.out_channels, self.conv_out_kernel, device),
            time: self.time.clone(),
            added: self.added.clone(),
            center_input_sample: self.center_input_sample,
        }
    }

    fn init_down_blocks(&self, context: &BlockContext<'_>) -> Vec<DownBlock> {
        let last = self.down_blocks.len() - 1;
        self.down_blocks
            .iter()
            .enumerate()
            .map(|(level, block)| {
                let from = self.down_blocks[level.saturating_sub(1)].channels;
                let padding = (level < last).then_some(self.downsample_padding);
                DownBlock::init(block, from, padding, context)
            })
            .collect()
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

impl Network for UNet {
    type Config = UNetConfig;
    const ROLE: Role = Role::UNet;
    const CLASSES: &'static [&'static str] = &["UNet2DConditionModel"];

    fn facts(config: &UNetConfig) -> Facts {
        let xl = "a UNet with added conditions, as Stable Diffusion XL has it, cannot be converted yet";
        Facts {
            dims: Dims::new()
                .with(Axis::SampleChannels, config.in_channels)
                .with(Axis::NoiseChannels, config.out_channels)
                .with(Axis::TextWidth, config.cross_attention_dim),
            native: config.sample_size,
            stated_side: config.stated_side,
            upcasts_attention: config.upcast_attention,
            refusal: config.added.is_some().then_some(xl),
            ..Facts::default()
        }
    }

    fn init(config: &UNetConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let (sample, timestep) = (features.real::<4>("sample")?, features.real::<1>("timestep")?);
        let text = features.real::<4>("encoder_hidden_states")?;
        // [B, C, 1, S], as the Core ML pipelines pass it, to the network's [B, S, C].
        let [batch, channels, _, length] = text.dims();
        let text = text.reshape([batch, channels, length]).swap_dims(1, 2);
        features.give("noise_pred", self.forward(sample, timestep, text, None))
    }
}

impl UNet {
    /// One prediction.
    ///
    /// # Shapes
    /// - sample: `[B, in_channels, h, w]`
    /// - timestep: `[B]`
    /// - text: `[B, T, cross_attention_dim]`
    /// - added: needed exactly when the configuration has `added`
    /// - output: `[B, out_channels, h, w]`
    ///
    /// # Panics
    /// If the configuration has added conditions and `added` is `None`.
    #[must_use]
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timestep: Tensor<1>,
        text: Tensor<3>,
        added: Option<AddedConditions>,
    ) -> Tensor<4> {
        let time = silu(self.embed_time(timestep, added));
        let sample = match self.center_input_sample {
            true => sample * 2.0 - 1.0,
            false => sample,
        };
        let mut x = self.conv_in.forward(sample);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, &time, &text, &mut skips);
        }
        if let Some(block) = &self.mid_block {
            x = block.forward(x, &time, &text);
        }
        for block in &self.up_blocks {
            x = block.forward(x, &time, &text, &mut skips);
        }
        self.conv_out.forward(silu(self.conv_norm_out.forward(x)))
    }

    fn embed_time(&self, timestep: Tensor<1>, added: Option<AddedConditions>) -> Tensor<2> {
        let wave = sinusoid(timestep, self.time.channels, &self.time);
        let embedding = self.time_embedding.forward(wave);
        let (Some(layers), Some(config)) = (&self.add_embedding, &self.added) else {
            return embedding;
        };
        let added = added.expect("invariant: a network with added conditions is given them");
        let [batch, n_numbers] = added.time_ids.dims();
        let numbers = added.time_ids.reshape([batch * n_numbers]);
        let waves = sinusoid(numbers, config.time_channels, &self.time);
        let waves = waves.reshape([batch, n_numbers * config.time_channels]);
        embedding + layers.forward(Tensor::cat(vec![added.text_embeds, waves], 1))
    }
}
