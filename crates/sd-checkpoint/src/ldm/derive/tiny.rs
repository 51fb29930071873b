//! TAESD, the small autoencoder, whose layers are numbered without regard to levels.

use sd_spec::Role;
use serde_json::{Value, json};

use crate::ldm::spelling::Spelling;
use crate::ldm::tensors::Tensors;
use crate::ldm::tiny_vae::list;

/// More layers of a half are not looked at.
const MAX_LAYERS: usize = 256;

/// `config.json` of an `AutoencoderTiny`; of a half that stands alone, the other is its mirror.
pub(crate) fn tiny(tensors: Tensors, spelling: Spelling, role: Role) -> Result<Value, String> {
    let halves = match (spelling, role) {
        (Spelling::Diffusers, _) => [Role::VaeEncoder, Role::VaeDecoder],
        (Spelling::Original, half) => [half, half],
    };
    let [encoder, decoder] = halves.map(|role| Half { tensors, spelling, role });
    Ok(json!({
        "_class_name": "AutoencoderTiny",
        "in_channels": encoder.picture_channels()?,
        "out_channels": decoder.picture_channels()?,
        "latent_channels": decoder.latent_channels()?,
        "encoder_block_out_channels": encoder.widths()?,
        "decoder_block_out_channels": decoder.widths()?,
        "num_encoder_blocks": encoder.levels_as(Role::VaeEncoder)?,
        "num_decoder_blocks": decoder.levels_as(Role::VaeDecoder)?,
        // It was trained on what the denoiser sees.
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
    }))
}

/// Channels of the latents that a TAESD has.
pub(crate) fn tiny_latents(tensors: Tensors, spelling: Spelling, role: Role) -> Result<usize, String> {
    Half { tensors, spelling, role }.latent_channels()
}

/// The encoder or the decoder.
#[derive(Clone, Copy)]
struct Half<'a> {
    tensors: Tensors<'a>,
    spelling: Spelling,
    role: Role,
}

impl Half<'_> {
    /// What the file calls a tensor of a layer, which diffusers counts from 0.
    fn key(self, layer: usize, what: &str) -> String {
        let (diffusers, offset) = list(self.role);
        match self.spelling {
            Spelling::Diffusers => format!("{diffusers}.{layer}.{what}"),
            Spelling::Original => format!("{}.{what}", layer + offset),
        }
    }

    fn dim(self, layer: usize, axis: usize) -> Result<usize, String> {
        self.tensors.dim(&self.key(layer, "weight"), axis)
    }

    fn widths(self) -> Result<Vec<usize>, String> {
        Ok(vec![self.dim(0, 0)?; self.levels()?.0.len()])
    }

    fn latent_channels(self) -> Result<usize, String> {
        match self.role {
            Role::VaeEncoder => self.dim(self.levels()?.1, 0),
            _ => self.dim(0, 1),
        }
    }

    fn picture_channels(self) -> Result<usize, String> {
        match self.role {
            Role::VaeEncoder => self.dim(0, 1),
            _ => self.dim(self.levels()?.1, 0),
        }
    }

    /// Blocks of each level, as a half of that role has them.
    fn levels_as(self, role: Role) -> Result<Vec<usize>, String> {
        let (mut levels, _) = self.levels()?;
        if role != self.role {
            levels.reverse();
        }
        Ok(levels)
    }

    /// How many residual blocks each level has, and the last layer: a convolution without a bias leads to the next level, and
    /// one with a bias is the last layer. Activations and what makes pictures larger have numbers and no tensors.
    fn levels(self) -> Result<(Vec<usize>, usize), String> {
        let mut levels = vec![0];
        for layer in 1..MAX_LAYERS {
            let has = |what: &str| self.tensors.has(&self.key(layer, what));
            match (has("conv.0.weight"), has("weight"), has("bias")) {
                (true, ..) => levels.last_mut().into_iter().for_each(|n: &mut usize| *n += 1),
                (false, true, false) => levels.push(0),
                (false, true, true) => return Ok((levels, layer)),
                (false, false, _) => {}
            }
        }
        Err(format!("its {} has no last convolution", self.role))
    }
}
