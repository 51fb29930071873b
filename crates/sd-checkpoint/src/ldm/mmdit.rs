//! Names of the transformer of Stable Diffusion 3 as Stability has them: a block is two, one for the picture and one for the
//! text, each with queries, keys and values in one matrix.

use sd_models::MmditConfig;

use super::names::{How, Leaf, Names};

const HEAD: &[Leaf] = &[
    Leaf("pos_embed.pos_embed", "pos_embed", How::Same),
    Leaf("pos_embed.proj", "x_embedder.proj", How::Same),
    Leaf("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0", How::Same),
    Leaf("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2", How::Same),
    Leaf("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0", How::Same),
    Leaf("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2", How::Same),
    Leaf("context_embedder", "context_embedder", How::Same),
    Leaf("proj_out", "final_layer.linear", How::Same),
    Leaf("norm_out.linear", "final_layer.adaLN_modulation.1", How::HalvesSwapped),
];

const PICTURE: &[Leaf] = &[
    Leaf("attn.to_q", "attn.qkv", How::Third(0)),
    Leaf("attn.to_k", "attn.qkv", How::Third(1)),
    Leaf("attn.to_v", "attn.qkv", How::Third(2)),
    Leaf("attn.to_out.0", "attn.proj", How::Same),
    Leaf("attn.norm_q", "attn.ln_q", How::Same),
    Leaf("attn.norm_k", "attn.ln_k", How::Same),
    Leaf("attn2.to_q", "attn2.qkv", How::Third(0)),
    Leaf("attn2.to_k", "attn2.qkv", How::Third(1)),
    Leaf("attn2.to_v", "attn2.qkv", How::Third(2)),
    Leaf("attn2.to_out.0", "attn2.proj", How::Same),
    Leaf("attn2.norm_q", "attn2.ln_q", How::Same),
    Leaf("attn2.norm_k", "attn2.ln_k", How::Same),
    Leaf("norm1.linear", "adaLN_modulation.1", How::Same),
    Leaf("ff.net.0.proj", "mlp.fc1", How::Same),
    Leaf("ff.net.2", "mlp.fc2", How::Same),
];

const TEXT: &[Leaf] = &[
    Leaf("attn.add_q_proj", "attn.qkv", How::Third(0)),
    Leaf("attn.add_k_proj", "attn.qkv", How::Third(1)),
    Leaf("attn.add_v_proj", "attn.qkv", How::Third(2)),
    Leaf("attn.to_add_out", "attn.proj", How::Same),
    Leaf("attn.norm_added_q", "attn.ln_q", How::Same),
    Leaf("attn.norm_added_k", "attn.ln_k", How::Same),
    Leaf("norm1_context.linear", "adaLN_modulation.1", How::Same),
    Leaf("ff_context.net.0.proj", "mlp.fc1", How::Same),
    Leaf("ff_context.net.2", "mlp.fc2", How::Same),
];

/// The last block gives no text, so it is modulated by a shift and a scale only, in the file's order.
const LAST_TEXT: &[Leaf] = &[
    Leaf("norm1_context.linear", "adaLN_modulation.1", How::HalvesSwapped),
    Leaf("attn.add_q_proj", "attn.qkv", How::Third(0)),
    Leaf("attn.add_k_proj", "attn.qkv", How::Third(1)),
    Leaf("attn.add_v_proj", "attn.qkv", How::Third(2)),
    Leaf("attn.norm_added_q", "attn.ln_q", How::Same),
    Leaf("attn.norm_added_k", "attn.ln_k", How::Same),
];

/// The names of a transformer's modules.
pub(crate) fn mmdit(config: &MmditConfig) -> Names {
    let mut names = Names::default();
    for layer in 0..config.n_layers {
        let (diffusers, file) = (format!("transformer_blocks.{layer}"), format!("joint_blocks.{layer}"));
        let text = if layer + 1 == config.n_layers { LAST_TEXT } else { TEXT };
        names.add(diffusers.clone(), format!("{file}.x_block"), PICTURE);
        names.add(diffusers, format!("{file}.context_block"), text);
    }
    names.add("", "", HEAD);
    names
}
