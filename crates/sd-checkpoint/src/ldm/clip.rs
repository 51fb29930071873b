//! Names of CLIP's text encoder as OpenCLIP has them, whose attention keeps queries, keys and values in one matrix.

use sd_models::ClipTextConfig;

use super::names::{How, Leaf, Names};

const EMBEDDINGS: &[Leaf] = &[
    Leaf("position_embedding.weight", "positional_embedding", How::Same),
    Leaf("token_embedding", "token_embedding", How::Same),
];

const LAYER: &[Leaf] = &[
    Leaf("self_attn.q_proj.weight", "attn.in_proj_weight", How::Third(0)),
    Leaf("self_attn.k_proj.weight", "attn.in_proj_weight", How::Third(1)),
    Leaf("self_attn.v_proj.weight", "attn.in_proj_weight", How::Third(2)),
    Leaf("self_attn.q_proj.bias", "attn.in_proj_bias", How::Third(0)),
    Leaf("self_attn.k_proj.bias", "attn.in_proj_bias", How::Third(1)),
    Leaf("self_attn.v_proj.bias", "attn.in_proj_bias", How::Third(2)),
    Leaf("self_attn.out_proj", "attn.out_proj", How::Same),
    Leaf("layer_norm1", "ln_1", How::Same),
    Leaf("layer_norm2", "ln_2", How::Same),
    Leaf("mlp.fc1", "mlp.c_fc", How::Same),
    Leaf("mlp.fc2", "mlp.c_proj", How::Same),
];

/// OpenCLIP multiplies with its projection from the right.
const PROJECTION: &[Leaf] = &[Leaf("weight", "", How::Transposed)];

/// The names of an encoder's modules.
pub(crate) fn open_clip(config: &ClipTextConfig) -> Names {
    let mut names = Names::default();
    names.add("text_model.embeddings", "", EMBEDDINGS);
    for layer in 0..config.tower.n_layers {
        let file = format!("transformer.resblocks.{layer}");
        names.add(format!("text_model.encoder.layers.{layer}"), file, LAYER);
    }
    names.add("text_model.final_layer_norm", "ln_final", &[]);
    if config.projection_dim.is_some() {
        names.add("text_projection", "text_projection", PROJECTION);
    }
    names
}
