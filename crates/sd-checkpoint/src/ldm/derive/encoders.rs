//! Text encoders.

use serde_json::{Value, json};

use crate::ldm::kinds::ClipRules;
use crate::ldm::tensors::Tensors;

/// Every head of CLIP's and of its like is this wide.
const HEAD_WIDTH: usize = 64;

/// What the shapes of a CLIP say.
struct Clip {
    vocabulary: usize,
    width: usize,
    inner: usize,
    n_positions: usize,
    n_layers: usize,
    projection: Option<usize>,
}

/// `config.json` of a text encoder whose tensors have the names of transformers.
pub(crate) fn clip_of_transformers(tensors: Tensors, rules: &ClipRules) -> Result<Value, String> {
    let bare = ["text_model.", ""].into_iter();
    let root = bare.clone().find(|root| tensors.has(&format!("{root}embeddings.token_embedding.weight")));
    let root = root.unwrap_or("text_model.");
    let embedding = |which: &str, axis| tensors.dim(&format!("{root}embeddings.{which}_embedding.weight"), axis);
    let inner = |layer: usize| format!("{root}encoder.layers.{layer}.mlp.fc1.weight");
    let width = embedding("token", 1)?;
    Ok(config(
        &Clip {
            vocabulary: embedding("token", 0)?,
            width,
            inner: tensors.dim(&inner(0), 0)?,
            n_positions: embedding("position", 0)?,
            n_layers: tensors.count(inner).min(rules.max_layers),
            projection: match tensors.shape("text_projection.weight") {
                Some(shape) => shape.first().copied(),
                None => rules.is_projected.then_some(width),
            },
        },
        rules,
    ))
}

/// `config.json` of a text encoder whose tensors have the names of OpenCLIP.
pub(crate) fn clip_of_open_clip(tensors: Tensors, rules: &ClipRules) -> Result<Value, String> {
    let inner = |layer: usize| format!("transformer.resblocks.{layer}.mlp.c_fc.weight");
    Ok(config(
        &Clip {
            vocabulary: tensors.dim("token_embedding.weight", 0)?,
            width: tensors.dim("token_embedding.weight", 1)?,
            inner: tensors.dim(&inner(0), 0)?,
            n_positions: tensors.dim("positional_embedding", 0)?,
            n_layers: tensors.count(inner).min(rules.max_layers),
            projection: tensors.shape("text_projection").and_then(|shape| shape.get(1).copied()),
        },
        rules,
    ))
}

fn config(clip: &Clip, rules: &ClipRules) -> Value {
    json!({
        "architectures": [rules.class()],
        "model_type": "clip_text_model",
        "vocab_size": clip.vocabulary,
        "hidden_size": clip.width,
        "intermediate_size": clip.inner,
        "max_position_embeddings": clip.n_positions,
        "num_hidden_layers": clip.n_layers,
        "num_attention_heads": (clip.width / HEAD_WIDTH).max(1),
        "projection_dim": clip.projection.unwrap_or(clip.width),
        "hidden_act": rules.activation,
        "layer_norm_eps": 1e-5,
        // The files that everybody has say 2, which transformers takes for "pool where the largest id is".
        "eos_token_id": 2,
    })
}

/// `config.json` of T5's encoder.
pub(crate) fn t5(tensors: Tensors) -> Result<Value, String> {
    let table = ["shared.weight", "encoder.embed_tokens.weight"].into_iter().find(|key| tensors.has(key));
    let table = table.unwrap_or("shared.weight");
    let layer = |layer: usize| format!("encoder.block.{layer}.layer.0.SelfAttention.q.weight");
    let bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    let n_heads = tensors.dim(bias, 1)?;
    Ok(json!({
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": tensors.dim(table, 0)?,
        "d_model": tensors.dim(table, 1)?,
        "d_ff": tensors.dim("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 0)?,
        "d_kv": tensors.dim(&layer(0), 0)?.checked_div(n_heads),
        "num_heads": n_heads,
        "num_layers": tensors.count(layer),
        "relative_attention_num_buckets": tensors.dim(bias, 0)?,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
    }))
}
