//! Numbers (timesteps, picture sizes) as vectors.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};

use super::{linear, linear_without_bias};
use crate::TimestepConfig;

/// The two linear layers behind a sinusoid (diffusers `TimestepEmbedding`).
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    linear_1: Linear,
    cond_proj: Option<Linear>,
    linear_2: Linear,
}

impl TimestepEmbedding {
    /// `condition_dim`: width of what is added to the input, if anything is.
    pub(crate) fn init(input_dim: usize, condition_dim: Option<usize>, embed_dim: usize, device: &Device) -> Self {
        Self {
            linear_1: linear(input_dim, embed_dim, device),
            cond_proj: condition_dim.map(|dim| linear_without_bias(dim, input_dim, device)),
            linear_2: linear(embed_dim, embed_dim, device),
        }
    }

    /// `[B, input_dim]`, and `[B, condition_dim]` where there is one, to `[B, embed_dim]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
        let x = match (&self.cond_proj, condition) {
            (Some(project), Some(condition)) => x + project.forward(condition),
            _ => x,
        };
        self.linear_2.forward(silu(self.linear_1.forward(x)))
    }
}

/// Sines and cosines of `values` at geometrically falling frequencies.
///
/// The frequencies are `10000^(−i / (half − freq_shift))` for `i` in `0..half`, computed in f64
/// and rounded once (diffusers 0.30 `get_timestep_embedding` computes them in f32).
///
/// # Shapes
/// - values: `[B]`
/// - output: `[B, channels]`
#[must_use]
pub fn sinusoid(values: Tensor<1>, channels: usize, config: &TimestepConfig) -> Tensor<2> {
    let [batch] = values.dims();
    let device = values.device();
    let half = channels / 2;
    let frequencies = frequencies(half, config.freq_shift, &device);
    let angles = values.reshape([batch, 1]) * frequencies;
    let (sines, cosines) = (angles.clone().sin(), angles.cos());
    let parts = match config.flip_sin_to_cos {
        true => vec![cosines, sines],
        false => vec![sines, cosines],
    };
    Tensor::cat(parts, 1)
}

fn frequencies(half: usize, freq_shift: f64, device: &Device) -> Tensor<2> {
    let exponent = -(10_000f64.ln()) / (half as f64 - freq_shift);
    let values: Vec<f32> = (0..half).map(|i| (i as f64 * exponent).exp() as f32).collect();
    Tensor::from_data(TensorData::new(values, [1, half]), device)
}
