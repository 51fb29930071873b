//! The transformer of Stable Diffusion 3.

use serde_json::{Value, json};

use crate::ldm::kinds::MmditRules;
use crate::ldm::spelling::Spelling;
use crate::ldm::tensors::Tensors;

/// `config.json` of an `SD3Transformer2DModel`.
pub(crate) fn mmdit(tensors: Tensors, spelling: Spelling, rules: &MmditRules) -> Result<Value, String> {
    let block = |layer: usize, original: &str, diffusers: &str| match spelling {
        Spelling::Original => format!("joint_blocks.{layer}.x_block.{original}.weight"),
        Spelling::Diffusers => format!("transformer_blocks.{layer}.{diffusers}.weight"),
    };
    let patches = spelling.of("x_embedder.proj.weight", "pos_embed.proj.weight");
    let n_layers = tensors.count(|layer| block(layer, "attn.qkv", "attn.to_q"));
    let width = tensors.dim(patches, 0)?;
    // Where heads are normalised, the file says how wide they are.
    let norm = tensors.shape(&block(0, "attn.ln_q", "attn.norm_q")).and_then(|shape| shape.first().copied());
    let head_width = norm.filter(|&norm| norm > 0).unwrap_or(rules.head_width);
    let patch = tensors.dim(patches, 2)?;
    let positions = tensors.dim(spelling.of("pos_embed", "pos_embed.pos_embed"), 1)?;
    let dual: Vec<usize> =
        (0..n_layers).filter(|&layer| tensors.has(&block(layer, "attn2.qkv", "attn2.to_q"))).collect();
    let out = tensors.dim(spelling.of("final_layer.linear.weight", "proj_out.weight"), 0)?;
    let pooled = spelling.of("y_embedder.mlp.0.weight", "time_text_embed.text_embedder.linear_1.weight");
    Ok(json!({
        "_class_name": "SD3Transformer2DModel",
        "sample_size": rules.latent_side,
        "patch_size": patch,
        "in_channels": tensors.dim(patches, 1)?,
        "out_channels": patch.checked_mul(patch).and_then(|area| out.checked_div(area)),
        "num_layers": n_layers,
        "attention_head_dim": head_width,
        "num_attention_heads": width / head_width,
        "caption_projection_dim": tensors.dim("context_embedder.weight", 0)?,
        "joint_attention_dim": tensors.dim("context_embedder.weight", 1)?,
        "pooled_projection_dim": tensors.dim(pooled, 1)?,
        "pos_embed_max_size": positions.isqrt(),
        "qk_norm": norm.map(|_| "rms_norm"),
        "dual_attention_layers": dual,
    }))
}
