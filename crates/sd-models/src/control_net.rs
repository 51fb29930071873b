//! A picture that guides the denoiser (diffusers `ControlNetModel`).

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use sd_spec::Axis;

use crate::layer::{TimestepEmbedding, same_conv};
use crate::unet::{
    BlockContext, DownBlock, UNetConditions, UNetMidBlock, Waves, init_down_blocks, init_mid_block, walk_down,
};
use crate::{ControlNetConfig, Facts, Features, Network, Role};

/// A copy of the denoiser's way down that sees a picture, and whose states are added to the denoiser's.
#[derive(Module, Debug)]
pub struct ControlNet {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    controlnet_cond_embedding: HintEmbedding,
    down_blocks: Vec<DownBlock>,
    controlnet_down_blocks: Vec<Conv2d>,
    mid_block: Option<UNetMidBlock>,
    controlnet_mid_block: Conv2d,
    #[module(skip)]
    waves: Waves,
    is_bgr: bool,
}

/// Brings the picture to the latents' size and the first level's channels (diffusers `ControlNetConditioningEmbedding`).
#[derive(Module, Debug)]
pub struct HintEmbedding {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl HintEmbedding {
    fn init(config: &ControlNetConfig, device: &Device) -> Self {
        let widths = &config.hint_widths;
        let halving = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let blocks =
            widths.windows(2).flat_map(|pair| [same_conv(pair[0], pair[0], 3, device), halving(pair[0], pair[1])]);
        Self {
            conv_in: same_conv(config.hint_channels, widths[0], 3, device),
            blocks: blocks.collect(),
            conv_out: same_conv(widths[widths.len() - 1], config.way_down.down_blocks[0].channels, 3, device),
        }
    }

    /// `[B, hint_channels, H, W]` to `[B, C, h, w]`.
    #[must_use]
    pub fn forward(&self, hint: Tensor<4>) -> Tensor<4> {
        let x = silu(self.conv_in.forward(hint));
        let x = self.blocks.iter().fold(x, |x, conv| silu(conv.forward(x)));
        self.conv_out.forward(x)
    }
}

impl ControlNetConfig {
    /// Builds the network; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> ControlNet {
        let down = &self.way_down;
        let context = BlockContext::new(down, device);
        let one_by_one = |channels| Conv2dConfig::new([channels, channels], [1, 1]).init(device);
        let mut residuals: Vec<Conv2d> = down.residuals().iter().map(|r| one_by_one(r.channels)).collect();
        ControlNet {
            conv_in: same_conv(down.in_channels, down.down_blocks[0].channels, down.conv_in_kernel, device),
            time_embedding: down.time.init(device),
            add_embedding: down.added.as_ref().map(|added| added.init(&down.time, device)),
            controlnet_cond_embedding: HintEmbedding::init(self, device),
            down_blocks: init_down_blocks(down, &context),
            mid_block: init_mid_block(down, &context),
            controlnet_mid_block: residuals.pop().expect("invariant: the middle block has a residual"),
            controlnet_down_blocks: residuals,
            waves: Waves::of(down),
            is_bgr: self.is_bgr,
        }
    }
}

impl Network for ControlNet {
    type Config = ControlNetConfig;
    const ROLES: &'static [Role] = &[Role::ControlNet];
    const CLASSES: &'static [&'static str] = &["ControlNetModel"];

    fn facts(config: &ControlNetConfig) -> Facts {
        let down = &config.way_down;
        Facts {
            dims: down.dims().with(Axis::HintChannels, config.hint_channels),
            scale: Some(1 << (config.hint_widths.len() - 1)),
            upcasts_attention: down.upcast_attention,
            added: down.added.clone(),
            residuals: down.residuals(),
            ..Facts::default()
        }
    }

    fn init(config: &ControlNetConfig, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let sample = features.real::<4>("sample")?;
        let conditions = UNetConditions::of(features)?;
        let hint = features.real::<4>("controlnet_cond")?;
        let residuals = self.forward(sample, conditions, hint);
        let mut named = residuals.into_iter().enumerate();
        named.try_for_each(|(i, residual)| features.give(&format!("additional_residual_{i}"), residual))
    }
}

impl ControlNet {
    /// What is added to the denoiser's states, that of the middle block last.
    ///
    /// # Shapes
    /// - sample: `[B, in_channels, h, w]`
    /// - hint: `[B, hint_channels, H, W]`, `H` and `W` the scale of the configuration times `h` and `w`
    ///
    /// # Panics
    /// If the configuration has added conditions and the conditions have none.
    #[must_use]
    pub fn forward(&self, sample: Tensor<4>, conditions: UNetConditions, hint: Tensor<4>) -> Vec<Tensor<4>> {
        let (time, text) = self.waves.embed(conditions, &self.time_embedding, self.add_embedding.as_ref());
        let hint = if self.is_bgr { reversed_channels(hint) } else { hint };
        let x = self.conv_in.forward(sample) + self.controlnet_cond_embedding.forward(hint);
        let (x, skips) = walk_down(x, &self.down_blocks, self.mid_block.as_ref(), &time, &text);
        let states = skips.into_iter().zip(&self.controlnet_down_blocks);
        states.map(|(state, conv)| conv.forward(state)).chain([self.controlnet_mid_block.forward(x)]).collect()
    }
}

/// Channels from last to first.
fn reversed_channels(x: Tensor<4>) -> Tensor<4> {
    let [_, channels, ..] = x.dims();
    Tensor::cat((0..channels).rev().map(|channel| x.clone().narrow(1, channel, 1)).collect(), 1)
}
