//! `SD3Transformer2DModel` as diffusers stores it, for Stable Diffusion 3; the additions of 3.5 are not here.

use serde_json::{Value, json};

use super::{
    presets::{Library, Network},
    tensors::{Bias, TensorList, TensorSpec},
};

/// The hyper-parameters that models differ in.
#[derive(Debug, Clone)]
pub(super) struct Mmdit {
    /// Side of the square latent that the model was made for.
    pub(super) sample_size: usize,
    /// Channels of the latents.
    pub(super) channels: usize,
    /// Side of the table of positions, in patches.
    pub(super) table_side: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    /// Width of a token of the text.
    pub(super) text_dim: usize,
    /// Width of the pooled text.
    pub(super) pooled_dim: usize,
}

/// Width of a head.
const HEAD_DIM: usize = 64;
/// Side of a patch, in latent pixels.
const PATCH: usize = 2;
/// Width of the sinusoidal embedding of the timestep.
const TIME_DIM: usize = 256;
/// Sines and cosines have this standard deviation.
const TABLE_STD: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// What trained layers make of time and pooled text for a block's normalisations and gates is small.
const CONDITION_GAIN: f32 = 0.3;

/// What a block makes of the text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    GoesOn,
    /// The last block's text serves its attention alone.
    EndsHere,
}

impl Network for Mmdit {
    fn class(&self) -> (Library, &'static str) {
        (Library::Diffusers, "SD3Transformer2DModel")
    }

    fn config(&self, _torch_dtype: &str) -> Value {
        json!({
            "_class_name": self.class().1,
            "_diffusers_version": "0.30.2",
            "attention_head_dim": HEAD_DIM,
            "caption_projection_dim": self.dim(),
            "in_channels": self.channels,
            "joint_attention_dim": self.text_dim,
            "num_attention_heads": self.n_heads,
            "num_layers": self.n_layers,
            "out_channels": self.channels,
            "patch_size": PATCH,
            "pooled_projection_dim": self.pooled_dim,
            "pos_embed_max_size": self.table_side,
            "sample_size": self.sample_size,
        })
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let (dim, patch_elements) = (self.dim(), PATCH * PATCH * self.channels);
        let mut list = TensorList::default();
        list.conv("pos_embed.proj", dim, self.channels, PATCH);
        list.tensor("pos_embed.pos_embed", &[1, self.table_side.pow(2), dim], 0.0, TABLE_STD);
        for (embedder, n_in) in [("timestep_embedder", TIME_DIM), ("text_embedder", self.pooled_dim)] {
            list.linear(&format!("time_text_embed.{embedder}.linear_1"), dim, n_in, Bias::With);
            list.linear(&format!("time_text_embed.{embedder}.linear_2"), dim, dim, Bias::With);
        }
        list.linear("context_embedder", dim, self.text_dim, Bias::With);
        for layer in 0..self.n_layers {
            let text = if layer + 1 == self.n_layers { Text::EndsHere } else { Text::GoesOn };
            self.block(&mut list, &format!("transformer_blocks.{layer}"), text);
        }
        list.linear_with_gain("norm_out.linear", 2 * dim, dim, Bias::With, CONDITION_GAIN);
        list.linear("proj_out", patch_elements, dim, Bias::With);
        list.0
    }
}

impl Mmdit {
    /// Width of a token in the blocks.
    const fn dim(&self) -> usize {
        self.n_heads * HEAD_DIM
    }

    /// `JointTransformerBlock`. Shift and scale before attention; before the feed-forward network again, and a gate
    /// behind each, where tokens go on.
    fn block(&self, list: &mut TensorList, name: &str, text: Text) {
        let dim = self.dim();
        let at = |part: &str| format!("{name}.{part}");
        let n_text_conditions = if text == Text::GoesOn { 6 } else { 2 };
        list.linear_with_gain(&at("norm1.linear"), 6 * dim, dim, Bias::With, CONDITION_GAIN);
        list.linear_with_gain(&at("norm1_context.linear"), n_text_conditions * dim, dim, Bias::With, CONDITION_GAIN);
        for projection in ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj"] {
            list.linear(&at(&format!("attn.{projection}")), dim, dim, Bias::With);
        }
        feed_forward(list, &at("ff"), dim);
        if text == Text::GoesOn {
            list.linear(&at("attn.to_add_out"), dim, dim, Bias::With);
            feed_forward(list, &at("ff_context"), dim);
        }
    }
}

fn feed_forward(list: &mut TensorList, name: &str, dim: usize) {
    list.linear(&format!("{name}.net.0.proj"), 4 * dim, dim, Bias::With);
    list.linear(&format!("{name}.net.2"), dim, 4 * dim, Bias::With);
}
