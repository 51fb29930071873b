//! The pre-norm transformer stack that both CLIP encoders share.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::{Device, Tensor};

use crate::layer::{linear, multi_head_attention};
use crate::{ClipActivation, ClipTowerConfig};

/// Equal layers, one after another.
#[derive(Module, Debug)]
pub struct Encoder {
    layers: Vec<EncoderLayer>,
}

/// States after the last layer and before it.
pub(super) struct EncoderStates {
    pub(super) last: Tensor<3>,
    /// transformers' `hidden_states[-2]`.
    pub(super) penultimate: Tensor<3>,
}

impl Encoder {
    pub(super) fn init(config: &ClipTowerConfig, device: &Device) -> Self {
        Self { layers: (0..config.n_layers).map(|_| EncoderLayer::init(config, device)).collect() }
    }

    pub(super) fn forward(&self, states: Tensor<3>, bias: Option<&Tensor<4>>) -> EncoderStates {
        let start = EncoderStates { penultimate: states.clone(), last: states };
        self.layers.iter().fold(start, |states, layer| EncoderStates {
            last: layer.forward(states.last.clone(), bias),
            penultimate: states.last,
        })
    }
}

/// Attention and feed-forward, each after a layer norm and with a shortcut.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl EncoderLayer {
    fn init(config: &ClipTowerConfig, device: &Device) -> Self {
        Self {
            layer_norm1: layer_norm(config, device),
            self_attn: SelfAttention::init(config, device),
            layer_norm2: layer_norm(config, device),
            mlp: Mlp::init(config, device),
        }
    }

    fn forward(&self, states: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let normed = self.layer_norm1.forward(states.clone());
        let states = states + self.self_attn.forward(normed, bias);
        let normed = self.layer_norm2.forward(states.clone());
        states + self.mlp.forward(normed)
    }
}

/// Multi-head self-attention with biases.
#[derive(Module, Debug)]
pub struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    n_heads: usize,
}

impl SelfAttention {
    fn init(config: &ClipTowerConfig, device: &Device) -> Self {
        let dim = config.hidden_size;
        Self {
            q_proj: linear(dim, dim, device),
            k_proj: linear(dim, dim, device),
            v_proj: linear(dim, dim, device),
            out_proj: linear(dim, dim, device),
            n_heads: config.n_heads,
        }
    }

    fn forward(&self, states: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let query = self.q_proj.forward(states.clone());
        let key = self.k_proj.forward(states.clone());
        let value = self.v_proj.forward(states);
        let attended = multi_head_attention(query, key, value, self.n_heads, bias.cloned());
        self.out_proj.forward(attended)
    }
}

/// The feed-forward block.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: ClipActivation,
}

impl Mlp {
    fn init(config: &ClipTowerConfig, device: &Device) -> Self {
        Self {
            fc1: linear(config.hidden_size, config.intermediate_size, device),
            fc2: linear(config.intermediate_size, config.hidden_size, device),
            activation: config.activation,
        }
    }

    fn forward(&self, states: Tensor<3>) -> Tensor<3> {
        let hidden = self.fc1.forward(states);
        let hidden = match self.activation {
            ClipActivation::QuickGelu => hidden.clone() * sigmoid(hidden * 1.702),
            ClipActivation::Gelu => gelu(hidden),
        };
        self.fc2.forward(hidden)
    }
}

pub(super) fn layer_norm(config: &ClipTowerConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps).init(device)
}
