//! Attention over picture and text together.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use crate::MmditConfig;
use crate::layer::{linear, multi_head_attention};

/// Attention of the picture's tokens to themselves, or of picture and text to both (diffusers `Attention` with
/// `JointAttnProcessor2_0`).
#[derive(Module, Debug)]
pub struct JointAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    norm_q: Option<RmsNorm>,
    norm_k: Option<RmsNorm>,
    add_q_proj: Option<Linear>,
    add_k_proj: Option<Linear>,
    add_v_proj: Option<Linear>,
    /// The last block has none, for nobody reads its text.
    to_add_out: Option<Linear>,
    norm_added_q: Option<RmsNorm>,
    norm_added_k: Option<RmsNorm>,
    n_heads: usize,
}

/// What becomes of the text in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// It is not there.
    Absent,
    /// The picture attends to it, and that is its end.
    Read,
    /// It attends to the picture too, and goes on.
    Updated,
}

impl JointAttention {
    pub(super) fn init(config: &MmditConfig, text: Text, device: &Device) -> Self {
        let dim = config.dim();
        let layer = || linear(dim, dim, device);
        let norm = || RmsNormConfig::new(config.head_dim).with_epsilon(1e-6).init(device);
        let (is_normed, is_joint) = (config.normalizes_heads, text != Text::Absent);
        Self {
            to_q: layer(),
            to_k: layer(),
            to_v: layer(),
            to_out: vec![layer()],
            norm_q: is_normed.then(norm),
            norm_k: is_normed.then(norm),
            add_q_proj: is_joint.then(layer),
            add_k_proj: is_joint.then(layer),
            add_v_proj: is_joint.then(layer),
            to_add_out: (text == Text::Updated).then(layer),
            norm_added_q: (is_normed && is_joint).then(norm),
            norm_added_k: (is_normed && is_joint).then(norm),
            n_heads: config.n_heads,
        }
    }

    /// Of the picture alone: `[B, S, C]` to `[B, S, C]`.
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let query = self.headwise(self.to_q.forward(tokens.clone()), self.norm_q.as_ref());
        let key = self.headwise(self.to_k.forward(tokens.clone()), self.norm_k.as_ref());
        let attended = multi_head_attention(query, key, self.to_v.forward(tokens), self.n_heads, None);
        self.out(attended)
    }

    /// Of picture and text: the picture's part, and the text's where it goes on.
    ///
    /// # Shapes
    /// - tokens: `[B, S, C]`
    /// - text: `[B, T, C]`
    /// - outputs: `[B, S, C]`, `[B, T, C]`
    #[must_use]
    pub fn forward_joint(&self, tokens: Tensor<3>, text: Tensor<3>) -> (Tensor<3>, Option<Tensor<3>>) {
        let both = |own: Tensor<3>, added: Option<Tensor<3>>| match added {
            Some(added) => Tensor::cat(vec![own, added], 1),
            None => own,
        };
        let project = |layer: &Option<Linear>| layer.as_ref().map(|layer| layer.forward(text.clone()));
        // Queries of a text that ends here would be thrown away.
        let asks = project(&self.add_q_proj).filter(|_| self.to_add_out.is_some());
        let asks = asks.map(|x| self.headwise(x, self.norm_added_q.as_ref()));
        let named = project(&self.add_k_proj).map(|x| self.headwise(x, self.norm_added_k.as_ref()));
        let query = both(self.headwise(self.to_q.forward(tokens.clone()), self.norm_q.as_ref()), asks);
        let key = both(self.headwise(self.to_k.forward(tokens.clone()), self.norm_k.as_ref()), named);
        let value = both(self.to_v.forward(tokens.clone()), project(&self.add_v_proj));
        let attended = multi_head_attention(query, key, value, self.n_heads, None);
        let [_, n_tokens, _] = tokens.dims();
        let Some(layer) = &self.to_add_out else { return (self.out(attended), None) };
        let [_, n_text, _] = text.dims();
        let of_text = layer.forward(attended.clone().narrow(1, n_tokens, n_text));
        (self.out(attended.narrow(1, 0, n_tokens)), Some(of_text))
    }

    fn out(&self, attended: Tensor<3>) -> Tensor<3> {
        self.to_out.iter().fold(attended, |x, layer| layer.forward(x))
    }

    /// `[B, S, C]`, normalised within each head where the network does that.
    fn headwise(&self, x: Tensor<3>, norm: Option<&RmsNorm>) -> Tensor<3> {
        let Some(norm) = norm else { return x };
        let [batch, len, channels] = x.dims();
        let heads = x.reshape([batch, len, self.n_heads, channels / self.n_heads]);
        norm.forward(heads).reshape([batch, len, channels])
    }
}
