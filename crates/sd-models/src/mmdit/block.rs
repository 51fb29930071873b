//! A block: both streams are normalised, attend, and pass a feed-forward network of their own.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor, TensorData};

use super::attention::{JointAttention, Text};
use crate::MmditConfig;
use crate::layer::{GeluFeedForward, linear};

/// Scales, shifts and gates that a linear layer makes of the condition (diffusers `AdaLayerNormZero`,
/// `SD35AdaLayerNormZeroX`, `AdaLayerNormContinuous`).
#[derive(Module, Debug)]
pub struct Modulation {
    linear: Linear,
    n_parts: usize,
}

impl Modulation {
    pub(super) fn init(dim: usize, n_parts: usize, device: &Device) -> Self {
        Self { linear: linear(dim, n_parts * dim, device), n_parts }
    }

    /// `[B, C]`, after SiLU, to vectors `[B, 1, C]` in the order of the checkpoint.
    fn parts(&self, condition: &Tensor<2>) -> Vec<Tensor<3>> {
        let all = self.linear.forward(condition.clone());
        let [batch, width] = all.dims();
        let dim = width / self.n_parts;
        (0..self.n_parts).map(|part| all.clone().narrow(1, part * dim, dim).reshape([batch, 1, dim])).collect()
    }

    /// The tokens normalised, then scaled and shifted by the two parts that there are, in this order:
    /// `[B, S, C]` to `[B, S, C]`.
    #[must_use]
    pub fn scaled_and_shifted(&self, tokens: Tensor<3>, condition: &Tensor<2>) -> Tensor<3> {
        let mut parts = self.parts(condition).into_iter();
        match (parts.next(), parts.next()) {
            (Some(scale), Some(shift)) => modulated(tokens, shift, scale),
            _ => tokens,
        }
    }
}

/// One block of both streams (diffusers `JointTransformerBlock`).
#[derive(Module, Debug)]
pub struct JointBlock {
    norm1: Modulation,
    norm1_context: Modulation,
    attn: JointAttention,
    attn2: Option<JointAttention>,
    ff: GeluFeedForward,
    /// The last block has none, for nobody reads its text.
    ff_context: Option<GeluFeedForward>,
}

impl JointBlock {
    pub(super) fn init(config: &MmditConfig, layer: usize, device: &Device) -> Self {
        let dim = config.dim();
        let is_dual = config.dual_layers.contains(&layer);
        let text = if layer + 1 == config.n_layers { Text::Read } else { Text::Updated };
        Self {
            norm1: Modulation::init(dim, if is_dual { 9 } else { 6 }, device),
            norm1_context: Modulation::init(dim, if text == Text::Updated { 6 } else { 2 }, device),
            attn: JointAttention::init(config, text, device),
            attn2: is_dual.then(|| JointAttention::init(config, Text::Absent, device)),
            ff: GeluFeedForward::init(dim, device),
            ff_context: (text == Text::Updated).then(|| GeluFeedForward::init(dim, device)),
        }
    }

    /// Both streams after the block; the text is none after the last one.
    ///
    /// # Shapes
    /// - tokens: `[B, S, C]`
    /// - text: `[B, T, C]`
    /// - condition: `[B, C]`, after SiLU
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>, text: Tensor<3>, condition: &Tensor<2>) -> (Tensor<3>, Option<Tensor<3>>) {
        let own = Parts::of(self.norm1.parts(condition));
        let normed = normalized(tokens.clone());
        let asked = own.before_attention(normed.clone());
        let Some(ff_context) = &self.ff_context else {
            let context = self.norm1_context.scaled_and_shifted(text, condition);
            let (attended, _) = self.attn.forward_joint(asked, context);
            return (self.finish(tokens, normed, attended, &own), None);
        };
        let of_text = Parts::of(self.norm1_context.parts(condition));
        let context = of_text.before_attention(normalized(text.clone()));
        let (attended, context) = self.attn.forward_joint(asked, context);
        let text = context.map(|context| of_text.through(ff_context, text + of_text.gated(context)));
        (self.finish(tokens, normed, attended, &own), text)
    }

    /// The picture's stream behind its attention to both.
    fn finish(&self, tokens: Tensor<3>, normed: Tensor<3>, attended: Tensor<3>, parts: &Parts) -> Tensor<3> {
        let mut tokens = tokens + parts.gated(attended);
        if let (Some(attention), Some([shift, scale, gate])) = (&self.attn2, &parts.second) {
            let asked = normed * (scale.clone() + 1.0) + shift.clone();
            tokens = tokens + gate.clone() * attention.forward(asked);
        }
        parts.through(&self.ff, tokens)
    }
}

/// Shift, scale and gate, each `[B, 1, C]`: around attention, around the feed-forward network, and around the second
/// attention of blocks that have one.
struct Parts {
    attention: [Tensor<3>; 3],
    feed_forward: [Tensor<3>; 3],
    second: Option<[Tensor<3>; 3]>,
}

impl Parts {
    fn of(parts: Vec<Tensor<3>>) -> Self {
        let mut parts = parts.into_iter();
        let mut three = || Some([parts.next()?, parts.next()?, parts.next()?]);
        let expected = "invariant: the layer makes six parts at least";
        let (attention, feed_forward) = (three().expect(expected), three().expect(expected));
        Self { attention, feed_forward, second: three() }
    }

    fn before_attention(&self, normed: Tensor<3>) -> Tensor<3> {
        let [shift, scale, _] = &self.attention;
        normed * (scale.clone() + 1.0) + shift.clone()
    }

    fn gated(&self, attended: Tensor<3>) -> Tensor<3> {
        let [_, _, gate] = &self.attention;
        gate.clone() * attended
    }

    /// The stream with what the feed-forward network makes of it added.
    fn through(&self, network: &GeluFeedForward, tokens: Tensor<3>) -> Tensor<3> {
        let [shift, scale, gate] = &self.feed_forward;
        let made = network.forward(modulated(tokens.clone(), shift.clone(), scale.clone()));
        tokens + gate.clone() * made
    }
}

fn modulated(tokens: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>) -> Tensor<3> {
    normalized(tokens) * (scale + 1.0) + shift
}

/// Layer normalisation without weights, `[B, S, C]`.
fn normalized(tokens: Tensor<3>) -> Tensor<3> {
    // diffusers builds every norm of this network with epsilon 1e-6.
    const EPSILON: f64 = 1e-6;
    let [_, _, dim] = tokens.dims();
    let ones = Tensor::from_data(TensorData::new(vec![1f32; dim], [dim]), &tokens.device());
    layer_norm(tokens, ones, None, EPSILON)
}
