//! TAESD, the small autoencoder, whose layers are numbered without regard to levels.

use serde_json::{Value, json};

use crate::ldm::tensors::Tensors;

/// More layers of a half are not looked at.
const MAX_LAYERS: usize = 256;

/// `config.json` of an `AutoencoderTiny`.
pub(crate) fn tiny(tensors: Tensors) -> Result<Value, String> {
    let (encoder, decoder) = (blocks(tensors, "encoder")?, blocks(tensors, "decoder")?);
    let first = |half: &str, axis: usize| tensors.dim(&format!("{half}.layers.0.weight"), axis);
    let widths = |half: &str, n: usize| first(half, 0).map(|width| vec![width; n]);
    Ok(json!({
        "_class_name": "AutoencoderTiny",
        "in_channels": first("encoder", 1)?,
        "latent_channels": first("decoder", 1)?,
        "encoder_block_out_channels": widths("encoder", encoder.len())?,
        "decoder_block_out_channels": widths("decoder", decoder.len())?,
        "num_encoder_blocks": encoder,
        "num_decoder_blocks": decoder,
        // It was trained on what the denoiser sees.
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
    }))
}

/// How many residual blocks each level of a half has: a convolution without a bias leads to the next level, and one with a
/// bias is the last layer. Activations and what makes pictures larger have numbers and no tensors.
fn blocks(tensors: Tensors, half: &str) -> Result<Vec<usize>, String> {
    let mut levels = vec![0];
    for layer in 1..MAX_LAYERS {
        let has = |what: &str| tensors.has(&format!("{half}.layers.{layer}.{what}"));
        match (has("conv.0.weight"), has("weight"), has("bias")) {
            (true, ..) => levels.last_mut().into_iter().for_each(|n: &mut usize| *n += 1),
            (false, true, false) => levels.push(0),
            (false, true, true) => return Ok(levels),
            (false, false, _) => {}
        }
    }
    Err(format!("its {half} has no last convolution"))
}
