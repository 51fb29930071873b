//! Multi-head attention, in one attention call.
//!
//! How a program later computes it (whole, split by head, split by query) is not decided here.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use super::{linear, linear_without_bias};

/// Added to the scores of keys that are not to be attended to.
///
/// Large enough that their softmax is exactly zero, small enough for f16 (where `−∞`, or the
/// smallest f32, would give NaN or overflow). Apple's converter chose the same number.
pub(crate) const MASKED: f32 = -1e4;

/// Attention of the denoiser's transformer blocks (diffusers `Attention`): over the tokens
/// themselves or over the text, depending on what `forward` is given.
#[derive(Module, Debug)]
pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    n_heads: usize,
}

impl Attention {
    pub(crate) fn init(dim: usize, context_dim: usize, n_heads: usize, device: &Device) -> Self {
        Self {
            to_q: linear_without_bias(dim, dim, device),
            to_k: linear_without_bias(context_dim, dim, device),
            to_v: linear_without_bias(context_dim, dim, device),
            to_out: vec![linear(dim, dim, device)],
            n_heads,
        }
    }

    /// Attends from `tokens` to `context`.
    ///
    /// # Shapes
    /// - tokens: `[B, S, C]`
    /// - context: `[B, T, D]`
    /// - output: `[B, S, C]`
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let query = self.to_q.forward(tokens);
        let key = self.to_k.forward(context.clone());
        let value = self.to_v.forward(context);
        let attended = multi_head_attention(query, key, value, self.n_heads, None);
        self.to_out.iter().fold(attended, |x, layer| layer.forward(x))
    }
}

/// `softmax(q·kᵀ / √d + bias)·v` for each head.
///
/// # Shapes
/// - query: `[B, S, C]`; `C` is a multiple of `n_heads`
/// - key, value: `[B, T, C]`
/// - bias: broadcasts to `[B, n_heads, S, T]`
/// - output: `[B, S, C]`
#[must_use]
pub fn multi_head_attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    n_heads: usize,
    bias: Option<Tensor<4>>,
) -> Tensor<3> {
    let shape = query.dims();
    let attended = attention(
        split_heads(query, n_heads),
        split_heads(key, n_heads),
        split_heads(value, n_heads),
        None,
        bias,
        AttentionModuleOptions::default(),
    );
    attended.swap_dims(1, 2).reshape(shape)
}

/// `[B, S, C]` to `[B, H, S, C / H]`.
fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<4> {
    let [batch, len, channels] = x.dims();
    x.reshape([batch, len, n_heads, channels / n_heads]).swap_dims(1, 2)
}
