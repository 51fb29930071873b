//! The transformer of Stable Diffusion 3.

use serde_json::{Value, json};

use crate::ldm::kinds::MmditRules;
use crate::ldm::tensors::Tensors;

/// `config.json` of an `SD3Transformer2DModel`.
pub(crate) fn mmdit(tensors: Tensors, rules: &MmditRules) -> Result<Value, String> {
    let block = |layer: usize| format!("joint_blocks.{layer}.x_block.attn.qkv.weight");
    let n_layers = tensors.count(block);
    let width = tensors.dim("x_embedder.proj.weight", 0)?;
    // Where heads are normalised, the file says how wide they are.
    let norm = tensors.shape("joint_blocks.0.x_block.attn.ln_q.weight").and_then(|shape| shape.first().copied());
    let head_width = norm.filter(|&norm| norm > 0).unwrap_or(rules.head_width);
    let patch = tensors.dim("x_embedder.proj.weight", 2)?;
    let positions = tensors.dim("pos_embed", 1)?;
    let dual: Vec<usize> =
        (0..n_layers).filter(|at| tensors.has(&format!("joint_blocks.{at}.x_block.attn2.qkv.weight"))).collect();
    let out = tensors.dim("final_layer.linear.weight", 0)?;
    Ok(json!({
        "_class_name": "SD3Transformer2DModel",
        "sample_size": rules.latent_side,
        "patch_size": patch,
        "in_channels": tensors.dim("x_embedder.proj.weight", 1)?,
        "out_channels": patch.checked_mul(patch).and_then(|area| out.checked_div(area)),
        "num_layers": n_layers,
        "attention_head_dim": head_width,
        "num_attention_heads": width / head_width,
        "caption_projection_dim": tensors.dim("context_embedder.weight", 0)?,
        "joint_attention_dim": tensors.dim("context_embedder.weight", 1)?,
        "pooled_projection_dim": tensors.dim("y_embedder.mlp.0.weight", 1)?,
        "pos_embed_max_size": positions.isqrt(),
        "qk_norm": norm.map(|_| "rms_norm"),
        "dual_attention_layers": dual,
    }))
}
