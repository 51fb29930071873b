//! The autoencoder.

use serde_json::{Value, json};

use crate::ldm::kinds::VaeRules;
use crate::ldm::spelling::Spelling;
use crate::ldm::tensors::Tensors;

/// `config.json` of an `AutoencoderKL`; `latent_side`: of the latents that its denoiser was made for.
pub(crate) fn vae(tensors: Tensors, spelling: Spelling, rules: &VaeRules, latent_side: usize) -> Result<Value, String> {
    let block = |level: usize, layer: usize| match spelling {
        Spelling::Original => format!("encoder.down.{level}.block.{layer}"),
        Spelling::Diffusers => format!("encoder.down_blocks.{level}.resnets.{layer}"),
    };
    let width = |level: usize| format!("{}.conv2.weight", block(level, 0));
    // diffusers before 0.17 had other names.
    let attention = match spelling {
        Spelling::Original => &["encoder.mid.attn_1.q.weight"][..],
        Spelling::Diffusers => {
            &["encoder.mid_block.attentions.0.to_q.weight", "encoder.mid_block.attentions.0.query.weight"]
        }
    };
    let n_levels = tensors.count(width);
    let channels: Vec<usize> = (0..n_levels).map(|level| tensors.dim(&width(level), 0)).collect::<Result<_, _>>()?;
    let types = |kind: &str| vec![kind.to_owned(); n_levels];
    Ok(json!({
        "_class_name": "AutoencoderKL",
        "in_channels": tensors.dim("encoder.conv_in.weight", 1)?,
        "out_channels": tensors.dim("decoder.conv_out.weight", 0)?,
        "latent_channels": tensors.dim("decoder.conv_in.weight", 1)?,
        "block_out_channels": channels,
        "down_block_types": types("DownEncoderBlock2D"),
        "up_block_types": types("UpDecoderBlock2D"),
        "layers_per_block": tensors.count(|layer| format!("{}.conv1.weight", block(0, layer))),
        "mid_block_add_attention": attention.iter().any(|key| tensors.has(key)),
        "use_quant_conv": tensors.has("quant_conv.weight"),
        "use_post_quant_conv": tensors.has("post_quant_conv.weight"),
        "sample_size": latent_side << n_levels.saturating_sub(1).min(8),
        "scaling_factor": rules.scaling_factor,
        "shift_factor": rules.shift_factor,
    }))
}
