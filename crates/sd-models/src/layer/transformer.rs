//! The denoiser's transformer over the positions of a feature map.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, GroupNorm, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{gelu, gelu_approximate};
use burn::tensor::{Device, Tensor};

use super::{Attention, NormConfig, linear};
use crate::TransformerConfig;

/// Transformer blocks between two projections, with a shortcut (diffusers `Transformer2DModel`).
///
/// The projections are linear layers on tokens whatever `use_linear_projection` says: a 1×1
/// convolution is the same map with the same weights.
#[derive(Module, Debug)]
pub struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl SpatialTransformer {
    pub(crate) fn init(
        config: &TransformerConfig,
        channels: usize,
        context_dim: usize,
        norm_groups: usize,
        device: &Device,
    ) -> Self {
        // diffusers Transformer2DModel: GroupNorm(eps=1e-6), whatever norm_eps the network has.
        let norm = NormConfig { groups: norm_groups, eps: 1e-6 };
        Self {
            norm: norm.init(channels, device),
            proj_in: linear(channels, channels, device),
            transformer_blocks: (0..config.n_layers)
                .map(|_| TransformerBlock::init(channels, context_dim, config.n_heads, device))
                .collect(),
            proj_out: linear(channels, channels, device),
        }
    }

    /// # Shapes
    /// - x: `[B, C, H, W]`
    /// - context: `[B, T, D]`
    /// - output: `[B, C, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, context: &Tensor<3>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = self.norm.forward(x.clone()).reshape([batch, channels, height * width]).swap_dims(1, 2);
        let tokens = self
            .transformer_blocks
            .iter()
            .fold(self.proj_in.forward(tokens), |tokens, block| block.forward(tokens, context));
        let map = self.proj_out.forward(tokens).swap_dims(1, 2).reshape([batch, channels, height, width]);
        map + x
    }
}

/// Self-attention, attention to the text, feed-forward (diffusers `BasicTransformerBlock`).
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    fn init(dim: usize, context_dim: usize, n_heads: usize, device: &Device) -> Self {
        let norm = LayerNormConfig::new(dim);
        Self {
            norm1: norm.init(device),
            attn1: Attention::init(dim, dim, n_heads, device),
            norm2: norm.init(device),
            attn2: Attention::init(dim, context_dim, n_heads, device),
            norm3: norm.init(device),
            ff: FeedForward::init(dim, device),
        }
    }

    /// `[B, S, C]` and the context `[B, T, D]` to `[B, S, C]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>, context: &Tensor<3>) -> Tensor<3> {
        let normed = self.norm1.forward(tokens.clone());
        let tokens = self.attn1.forward(normed.clone(), normed) + tokens;
        let normed = self.norm2.forward(tokens.clone());
        let tokens = self.attn2.forward(normed, context.clone()) + tokens;
        let normed = self.norm3.forward(tokens.clone());
        self.ff.forward(normed) + tokens
    }
}

/// Gated linear unit, then a linear layer.
///
/// `net` is the checkpoint's `Sequential`: 0 the gate, 1 a dropout without weights, 2 the layer.
#[derive(Module, Debug)]
pub struct FeedForward {
    net: (GeGlu, Dropout, Linear),
}

impl FeedForward {
    fn init(dim: usize, device: &Device) -> Self {
        let inner = 4 * dim;
        let gate = GeGlu { proj: linear(dim, 2 * inner, device) };
        Self { net: (gate, DropoutConfig::new(0.0).init(), linear(inner, dim, device)) }
    }

    /// `[B, S, C]` to `[B, S, C]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let (gate, _dropout, project) = &self.net;
        project.forward(gate.forward(tokens))
    }
}

/// One linear layer whose second half, through GELU, gates the first.
#[derive(Module, Debug)]
pub struct GeGlu {
    proj: Linear,
}

impl GeGlu {
    /// `[B, S, C]` to `[B, S, 4C]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let both = self.proj.forward(tokens);
        let [_, _, width] = both.dims();
        let hidden = both.clone().narrow(2, 0, width / 2);
        let gate = both.narrow(2, width / 2, width / 2);
        hidden * gelu(gate)
    }
}

/// A linear layer through GELU's tanh form, then another.
///
/// `net` is the checkpoint's `Sequential`, as in [`FeedForward`].
#[derive(Module, Debug)]
pub struct GeluFeedForward {
    net: (GeluProjection, Dropout, Linear),
}

impl GeluFeedForward {
    pub(crate) fn init(dim: usize, device: &Device) -> Self {
        let inner = 4 * dim;
        let projection = GeluProjection { proj: linear(dim, inner, device) };
        Self { net: (projection, DropoutConfig::new(0.0).init(), linear(inner, dim, device)) }
    }

    /// `[B, S, C]` to `[B, S, C]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let (projection, _dropout, project) = &self.net;
        project.forward(gelu_approximate(projection.proj.forward(tokens)))
    }
}

/// The linear layer before GELU (diffusers `GELU`).
#[derive(Module, Debug)]
pub struct GeluProjection {
    proj: Linear,
}
