//! The levels of the denoiser.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::layer::{
    Downsample, DownsamplePadding, NormConfig, ResnetBlock, ResnetConfig, SpatialTransformer, Upsample,
};
use crate::{Resolution, TransformerConfig, UNetBlockConfig, UNetMidBlockConfig, WayDownConfig};

/// What every level is built with.
pub(crate) struct BlockContext<'a> {
    pub(super) text_dim: usize,
    pub(super) time_dim: usize,
    pub(super) norm: NormConfig,
    pub(super) device: &'a Device,
}

impl<'a> BlockContext<'a> {
    pub(crate) const fn new(config: &WayDownConfig, device: &'a Device) -> Self {
        Self {
            text_dim: config.cross_attention_dim,
            time_dim: config.time.embed_dim,
            norm: NormConfig { groups: config.norm_groups, eps: config.norm_eps },
            device,
        }
    }

    fn resnet(&self, in_channels: usize, out_channels: usize) -> ResnetBlock {
        let config = ResnetConfig { in_channels, out_channels, time_dim: Some(self.time_dim), norm: self.norm };
        config.init(self.device)
    }

    fn transformer(&self, config: &TransformerConfig, channels: usize) -> SpatialTransformer {
        let groups = self.norm.groups;
        SpatialTransformer::init(config, channels, self.text_dim, groups, self.device)
    }

    /// One transformer after each residual block, or none.
    fn transformers(&self, block: &UNetBlockConfig) -> Vec<SpatialTransformer> {
        block.transformers.iter().map(|config| self.transformer(config, block.channels)).collect()
    }
}

/// A level on the way down (diffusers `DownBlock2D`, `CrossAttnDownBlock2D`).
#[derive(Module, Debug)]
pub struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<SpatialTransformer>,
    downsamplers: Vec<Downsample>,
}

impl DownBlock {
    /// `padding` is that of the halving convolution; the last level has none.
    pub(super) fn init(
        config: &UNetBlockConfig,
        from: usize,
        padding: Option<usize>,
        context: &BlockContext<'_>,
    ) -> Self {
        let to = config.channels;
        let downsampler = padding.map(|padding| {
            let padding = match padding {
                0 => DownsamplePadding::FarSides,
                _ => DownsamplePadding::AllSides,
            };
            Downsample::init(to, padding, context.device)
        });
        Self {
            resnets: (0..config.n_layers)
                .map(|layer_idx| context.resnet(if layer_idx == 0 { from } else { to }, to))
                .collect(),
            attentions: context.transformers(config),
            downsamplers: downsampler.into_iter().collect(),
        }
    }

    /// Pushes the state after every layer, and after halving, to `skips`.
    ///
    /// # Shapes
    /// - x: `[B, C_in, H, W]`
    /// - activated_time: `[B, T]`, after SiLU
    /// - text: `[B, S, D]`
    /// - output: `[B, C_out, ⌈H/2⌉, ⌈W/2⌉]` (last level: `[B, C_out, H, W]`)
    pub fn forward(
        &self,
        mut x: Tensor<4>,
        activated_time: &Tensor<2>,
        text: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer_idx, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(activated_time));
            if let Some(transformer) = self.attentions.get(layer_idx) {
                x = transformer.forward(x, text);
            }
            skips.push(x.clone());
        }
        for downsampler in &self.downsamplers {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// Residual, transformer, residual (diffusers `UNetMidBlock2DCrossAttn`), or one residual alone (`UNetMidBlock2D`).
#[derive(Module, Debug)]
pub struct UNetMidBlock {
    attentions: Vec<SpatialTransformer>,
    resnets: Vec<ResnetBlock>,
}

impl UNetMidBlock {
    pub(super) fn init(config: &UNetMidBlockConfig, channels: usize, context: &BlockContext<'_>) -> Self {
        let attentions: Vec<_> = config.transformer.iter().map(|t| context.transformer(t, channels)).collect();
        let resnets = (0..=attentions.len()).map(|_| context.resnet(channels, channels)).collect();
        Self { attentions, resnets }
    }

    /// `[B, C, H, W]` to `[B, C, H, W]`; arguments as in [`DownBlock::forward`].
    #[must_use]
    pub fn forward(&self, mut x: Tensor<4>, activated_time: &Tensor<2>, text: &Tensor<3>) -> Tensor<4> {
        for (layer_idx, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(activated_time));
            if let Some(transformer) = self.attentions.get(layer_idx) {
                x = transformer.forward(x, text);
            }
        }
        x
    }
}

/// A level on the way up (diffusers `UpBlock2D`, `CrossAttnUpBlock2D`).
#[derive(Module, Debug)]
pub struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<SpatialTransformer>,
    upsamplers: Vec<Upsample>,
}

impl UpBlock {
    /// `from`: channels of the input; `finer`: channels of the next finer level, which the last
    /// skip of this level has.
    pub(super) fn init(
        config: &UNetBlockConfig,
        from: usize,
        finer: usize,
        double: bool,
        context: &BlockContext<'_>,
    ) -> Self {
        let to = config.channels;
        let last = config.n_layers - 1;
        Self {
            resnets: (0..config.n_layers)
                .map(|layer_idx| {
                    let state = if layer_idx == 0 { from } else { to };
                    let skip = if layer_idx == last { finer } else { to };
                    context.resnet(state + skip, to)
                })
                .collect(),
            attentions: context.transformers(config),
            upsamplers: double.then(|| Upsample::init(to, context.device)).into_iter().collect(),
        }
    }

    /// Pops one skip for every layer; doubles to the size of the skip that comes next.
    ///
    /// # Shapes
    /// - x: `[B, C_in, H, W]`
    /// - activated_time: `[B, T]`, after SiLU
    /// - text: `[B, S, D]`
    /// - output: `[B, C_out, 2H, 2W]` or one less (last level: `[B, C_out, H, W]`)
    pub fn forward(
        &self,
        mut x: Tensor<4>,
        activated_time: &Tensor<2>,
        text: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (layer_idx, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("invariant: the way down left one skip per layer of the way up");
            x = resnet.forward(Tensor::cat(vec![x, skip], 1), Some(activated_time));
            if let Some(transformer) = self.attentions.get(layer_idx) {
                x = transformer.forward(x, text);
            }
        }
        let target = skips.last().map(|skip| {
            let [_, _, height, width] = skip.dims();
            Resolution { height, width }
        });
        self.upsamplers.iter().fold(x, |x, upsampler| upsampler.forward(x, target))
    }
}
