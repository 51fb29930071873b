//! The third text encoder of Stable Diffusion 3: T5's encoder (transformers `T5EncoderModel`).
//!
//! Positions are relative: attention adds a number for each distance and head, the same in all layers.

#![allow(non_snake_case, reason = "fields carry the checkpoint's names")]

mod position;

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::activation::gelu_approximate;
use burn::tensor::{Device, Int, Tensor};
use sd_spec::{Axis, Dims};

use crate::layer::{MASKED, linear_without_bias, multi_head_attention};
use crate::{Facts, Features, Naming, Network, Role, T5Config};

/// What the inside of a feed-forward network is multiplied with before its last layer, and its result divided by.
///
/// Both change nothing but the exponent. In half precision the states of large encoders leave the last layer beyond
/// 65504 (transformers computes it in f32 for that); so they leave it 64 times smaller, and become what they are in f32,
/// where the sums of the states are kept.
const INNER_SCALE: f64 = 1.0 / 64.0;

/// T5's encoder.
#[derive(Module, Debug)]
pub struct T5Encoder {
    shared: Embedding,
    encoder: Stack,
    vocab_size: usize,
}

impl T5Config {
    /// Builds the encoder; its weights are initialised when they are first used.
    #[must_use]
    pub fn init(&self, device: &Device) -> T5Encoder {
        T5Encoder {
            shared: EmbeddingConfig::new(self.vocab_size, self.dim).init(device),
            encoder: Stack {
                block: (0..self.n_layers).map(|layer| Block::init(self, layer, device)).collect(),
                final_layer_norm: self.norm(device),
            },
            vocab_size: self.vocab_size,
        }
    }

    fn norm(&self, device: &Device) -> RmsNorm {
        RmsNormConfig::new(self.dim).with_epsilon(self.epsilon).init(device)
    }
}

impl Network for T5Encoder {
    type Config = T5Config;
    const ROLES: &'static [Role] = &[Role::TextEncoder3];
    const CLASSES: &'static [&'static str] = &["T5EncoderModel"];
    const NAMING: Naming = Naming { other_keys, reason_to_ignore };

    fn facts(config: &T5Config) -> Facts {
        // Scores are not divided by the root of a head's width, so they are large, and half precision has few digits there.
        Facts { dims: Dims::new().with(Axis::TextWidth, config.dim), upcasts_attention: true, ..Facts::default() }
    }

    fn init(config: &T5Config, device: &Device) -> Self {
        config.init(device)
    }

    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error> {
        let input_ids = features.ids::<2>("input_ids", self.vocab_size)?;
        let mask = match features.has("attention_mask") {
            true => Some(features.ids::<2>("attention_mask", 2)?),
            false => None,
        };
        features.give("encoder_hidden_states", self.forward(input_ids, mask))
    }
}

/// The embedding has a name in each half of the whole model.
fn other_keys(key: &str) -> Vec<String> {
    let names = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
    if key == "shared.weight" { names.map(str::to_owned).to_vec() } else { Vec::new() }
}

fn reason_to_ignore(key: &str) -> Option<&'static str> {
    if key == "encoder.embed_tokens.weight" {
        return Some("repeats shared.weight");
    }
    let is_of_decoder = key.starts_with("decoder.") || key.starts_with("lm_head.");
    is_of_decoder.then_some("belongs to T5's decoder, and the text encoder is the other half")
}

impl T5Encoder {
    /// Encodes token ids. With a mask nothing attends to tokens where it is 0; where all are, it masks nothing.
    ///
    /// # Shapes
    /// - input_ids: `[B, S]`
    /// - mask: `[B, S]`, 1 for each token that counts, else 0
    /// - output: `[B, S, dim]`
    #[must_use]
    pub fn forward(&self, input_ids: Tensor<2, Int>, mask: Option<Tensor<2, Int>>) -> Tensor<3> {
        self.encoder.forward(self.shared.forward(input_ids), mask.map(mask_bias))
    }
}

/// `[B, S]` of ones and zeros to `[B, 1, 1, S]`: 0 for keys that count, [`MASKED`] for others.
fn mask_bias(mask: Tensor<2, Int>) -> Tensor<4> {
    let [batch, len] = mask.dims();
    let counts = mask.float().reshape([batch, 1, 1, len]);
    counts * -MASKED + MASKED
}

/// Layers, and the final normalisation.
#[derive(Module, Debug)]
struct Stack {
    block: Vec<Block>,
    final_layer_norm: RmsNorm,
}

impl Stack {
    /// `mask`: what is added to the scores beside the distances' numbers, `[B, 1, 1, S]`.
    fn forward(&self, mut states: Tensor<3>, mask: Option<Tensor<4>>) -> Tensor<3> {
        let [_, len, _] = states.dims();
        let distances = self.block.first().and_then(|block| block.layer.0.SelfAttention.bias(len, &states.device()));
        let bias = match (distances, mask) {
            (Some(distances), Some(mask)) => Some(distances + mask),
            (distances, mask) => distances.or(mask),
        };
        for block in &self.block {
            states = block.forward(states, bias.as_ref());
        }
        self.final_layer_norm.forward(states)
    }
}

/// One layer: attention, then the feed-forward network.
#[derive(Module, Debug)]
struct Block {
    layer: (AttentionLayer, FeedForwardLayer),
}

impl Block {
    fn init(config: &T5Config, layer: usize, device: &Device) -> Self {
        let attention = AttentionLayer {
            SelfAttention: SelfAttention::init(config, layer, device),
            layer_norm: config.norm(device),
        };
        let network =
            FeedForwardLayer { DenseReluDense: GatedNetwork::init(config, device), layer_norm: config.norm(device) };
        Self { layer: (attention, network) }
    }

    fn forward(&self, states: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let (attention, network) = &self.layer;
        let normed = attention.layer_norm.forward(states.clone());
        let states = states + attention.SelfAttention.forward(normed, bias);
        let normed = network.layer_norm.forward(states.clone());
        states + network.DenseReluDense.forward(normed)
    }
}

/// Attention with its normalisation.
#[derive(Module, Debug)]
struct AttentionLayer {
    SelfAttention: SelfAttention,
    layer_norm: RmsNorm,
}

/// The feed-forward network with its normalisation.
#[derive(Module, Debug)]
struct FeedForwardLayer {
    DenseReluDense: GatedNetwork,
    layer_norm: RmsNorm,
}

/// Multi-head self-attention without biases in its layers, whose scores are not scaled.
#[derive(Module, Debug)]
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// `[buckets, heads]`; only the first layer has it, and all add it.
    relative_attention_bias: Option<Embedding>,
    n_heads: usize,
    n_buckets: usize,
    max_distance: usize,
}

impl SelfAttention {
    fn init(config: &T5Config, layer: usize, device: &Device) -> Self {
        let (dim, inner) = (config.dim, config.attention_dim());
        let bias = || EmbeddingConfig::new(config.n_buckets, config.n_heads).init(device);
        Self {
            q: linear_without_bias(dim, inner, device),
            k: linear_without_bias(dim, inner, device),
            v: linear_without_bias(dim, inner, device),
            o: linear_without_bias(inner, dim, device),
            relative_attention_bias: (layer == 0).then(bias),
            n_heads: config.n_heads,
            n_buckets: config.n_buckets,
            max_distance: config.max_distance,
        }
    }

    /// `[1, heads, len, len]`: what is added to the score of each query and key.
    fn bias(&self, len: usize, device: &Device) -> Option<Tensor<4>> {
        let table = self.relative_attention_bias.as_ref()?;
        let buckets = position::buckets(len, self.n_buckets, self.max_distance, device);
        Some(table.forward(buckets).permute([2, 0, 1]).unsqueeze::<4>())
    }

    fn forward(&self, states: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let query = self.q.forward(states.clone());
        let [_, _, inner] = query.dims();
        // Takes back the scale that attention brings along.
        let query = query * ((inner / self.n_heads) as f64).sqrt();
        let (key, value) = (self.k.forward(states.clone()), self.v.forward(states));
        self.o.forward(multi_head_attention(query, key, value, self.n_heads, bias.cloned()))
    }
}

/// The gated feed-forward network.
#[derive(Module, Debug)]
struct GatedNetwork {
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

impl GatedNetwork {
    fn init(config: &T5Config, device: &Device) -> Self {
        let (dim, inner) = (config.dim, config.inner_dim);
        Self {
            wi_0: linear_without_bias(dim, inner, device),
            wi_1: linear_without_bias(dim, inner, device),
            wo: linear_without_bias(inner, dim, device),
        }
    }

    fn forward(&self, states: Tensor<3>) -> Tensor<3> {
        // transformers calls this gelu_new: the form with tanh.
        let gate = gelu_approximate(self.wi_0.forward(states.clone())) * INNER_SCALE;
        self.wo.forward(gate * self.wi_1.forward(states)) * (1.0 / INNER_SCALE)
    }
}
