//! `T5EncoderModel` as transformers stores it: T5 1.1, whose feed-forward networks are gated.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{Bias, TensorList, TensorSpec},
};

/// The hyper-parameters in which the sizes of T5 differ.
#[derive(Debug, Clone)]
pub(super) struct T5 {
    /// Width of the states.
    pub(super) dim: usize,
    /// Width inside the feed-forward networks.
    pub(super) inner_dim: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
}

/// Rows of the embedding: a few more than the tokenizer has tokens.
pub(super) const VOCAB_SIZE: usize = 32128;
/// Width of a head.
const HEAD_DIM: usize = 64;
/// Distances between tokens that are told apart.
const N_BUCKETS: usize = 32;

impl Network for T5 {
    fn class(&self) -> (Library, &'static str) {
        (Library::Transformers, "T5EncoderModel")
    }

    fn config(&self, torch_dtype: &str) -> Value {
        json!({
            "architectures": [self.class().1],
            "classifier_dropout": 0.0,
            "d_ff": self.inner_dim,
            "d_kv": HEAD_DIM,
            "d_model": self.dim,
            "decoder_start_token_id": 0,
            "dense_act_fn": "gelu_new",
            "dropout_rate": 0.1,
            "eos_token_id": 1,
            "feed_forward_proj": "gated-gelu",
            "initializer_factor": 1.0,
            "is_encoder_decoder": true,
            "is_gated_act": true,
            "layer_norm_epsilon": 1e-06,
            "model_type": "t5",
            "num_decoder_layers": self.n_layers,
            "num_heads": self.n_heads,
            "num_layers": self.n_layers,
            "output_past": true,
            "pad_token_id": 0,
            "relative_attention_max_distance": 128,
            "relative_attention_num_buckets": N_BUCKETS,
            "tie_word_embeddings": false,
            "torch_dtype": torch_dtype,
            "transformers_version": "4.44.2",
            "use_cache": true,
            "vocab_size": VOCAB_SIZE,
        })
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        list.tensor("shared.weight", &[VOCAB_SIZE, self.dim], 0.0, 1.0);
        for layer in 0..self.n_layers {
            self.block(&mut list, layer);
        }
        norm(&mut list, "encoder.final_layer_norm", self.dim);
        list.0
    }
}

impl T5 {
    fn block(&self, list: &mut TensorList, layer: usize) {
        let (dim, inner, attention) = (self.dim, self.inner_dim, self.n_heads * HEAD_DIM);
        let at = |part: &str| format!("encoder.block.{layer}.layer.{part}");
        // Scores are not divided by the root of a head's width; queries are so much smaller.
        let query_gain = (HEAD_DIM as f32).sqrt().recip();
        list.linear_with_gain(&at("0.SelfAttention.q"), attention, dim, Bias::Without, query_gain);
        for projection in ["k", "v"] {
            list.linear(&at(&format!("0.SelfAttention.{projection}")), attention, dim, Bias::Without);
        }
        list.linear(&at("0.SelfAttention.o"), dim, attention, Bias::Without);
        if layer == 0 {
            let name = at("0.SelfAttention.relative_attention_bias.weight");
            list.tensor(name, &[N_BUCKETS, self.n_heads], 0.0, 1.0);
        }
        norm(list, &at("0.layer_norm"), dim);
        for projection in ["wi_0", "wi_1"] {
            list.linear(&at(&format!("1.DenseReluDense.{projection}")), inner, dim, Bias::Without);
        }
        list.linear(&at("1.DenseReluDense.wo"), dim, inner, Bias::Without);
        norm(list, &at("1.layer_norm"), dim);
    }
}

/// A normalisation by the root of the mean square, which has no bias.
fn norm(list: &mut TensorList, name: &str, n_channels: usize) {
    list.tensor(format!("{name}.weight"), &[n_channels], 1.0, 0.05);
}
