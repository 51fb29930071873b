//! What a checkpoint file holds: names, shapes and how each tensor is drawn. No bytes.

/// One tensor to be drawn.
#[derive(Debug, Clone)]
pub(super) struct TensorSpec {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Mean of its normal distribution.
    pub(super) mean: f32,
    /// Standard deviation of its normal distribution.
    pub(super) std: f32,
}

impl TensorSpec {
    pub(super) fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Whether a layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    With,
    Without,
}

/// Collects the tensors of a file.
///
/// Weights are drawn with variance 1/fan-in, so that a layer keeps the scale of what goes in;
/// norms are near identity, biases near zero.
/// A residual stream of n such layers then has a variance of about n, far inside the range of f16.
#[derive(Debug, Default)]
pub(super) struct TensorList(pub(super) Vec<TensorSpec>);

impl TensorList {
    /// A tensor of any shape.
    pub(super) fn tensor(&mut self, name: impl Into<String>, shape: &[usize], mean: f32, std: f32) {
        self.0.push(TensorSpec { name: name.into(), shape: shape.to_vec(), mean, std });
    }

    /// `name.weight` [out, in] and, if wanted, `name.bias`.
    pub(super) fn linear(&mut self, name: &str, n_out: usize, n_in: usize, bias: Bias) {
        self.linear_with_gain(name, n_out, n_in, bias, 1.0);
    }

    /// A linear layer whose output has `gain` times the scale of its input.
    pub(super) fn linear_with_gain(&mut self, name: &str, n_out: usize, n_in: usize, bias: Bias, gain: f32) {
        self.weight_and_bias(name, &[n_out, n_in], gain, bias);
    }

    /// `name.weight` [out, in, kernel, kernel] and `name.bias`.
    pub(super) fn conv(&mut self, name: &str, n_out: usize, n_in: usize, kernel: usize) {
        self.conv_with_gain(name, n_out, n_in, kernel, 1.0);
    }

    /// A convolution whose output has `gain` times the scale of its input.
    pub(super) fn conv_with_gain(&mut self, name: &str, n_out: usize, n_in: usize, kernel: usize, gain: f32) {
        self.weight_and_bias(name, &[n_out, n_in, kernel, kernel], gain, Bias::With);
    }

    /// `name.weight` near 1 and `name.bias` near 0, one per channel.
    pub(super) fn norm(&mut self, name: &str, n_channels: usize) {
        self.tensor(format!("{name}.weight"), &[n_channels], 1.0, 0.05);
        self.tensor(format!("{name}.bias"), &[n_channels], 0.0, 0.02);
    }

    fn weight_and_bias(&mut self, name: &str, shape: &[usize], gain: f32, bias: Bias) {
        let fan_in: usize = shape[1..].iter().product();
        self.tensor(format!("{name}.weight"), shape, 0.0, gain / (fan_in as f32).sqrt());
        if bias == Bias::With {
            self.tensor(format!("{name}.bias"), &shape[..1], 0.0, 0.02 * gain);
        }
    }
}
