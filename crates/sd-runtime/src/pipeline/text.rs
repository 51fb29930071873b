//! The text encoder: ids → hidden states in the UNet's layout.

use host_tensor::Stop;

use super::model::Model;
use crate::engine::Engine;
use crate::error::Result;

/// What the UNet takes of a text: `width` channels at each of `length` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextShape {
    pub(super) width: usize,
    pub(super) length: usize,
}

/// Hidden states of prompt and negative prompt, each [width, length].
pub(super) struct Conditioning {
    pub(super) prompt: Vec<f32>,
    /// Present if guidance is active.
    pub(super) negative: Option<Vec<f32>>,
}

/// `input_ids` [1, L] → `last_hidden_state` [1, L, D].
pub(super) struct TextEncoder {
    model: Model,
    /// L: how many ids one call takes.
    length: usize,
}

impl TextEncoder {
    pub(super) fn new(engine: Box<dyn Engine>) -> Result<Self> {
        let model = Model::new("text_encoder", engine, &[("input_ids", 2)])?;
        model.expect_output("last_hidden_state")?;
        let shape = model.input_dims("input_ids")?;
        if shape[0] != 1 {
            return Err(model.fault(format!("input_ids has shape {shape:?}, expected a batch of 1")));
        }
        Ok(Self { length: shape[1], model })
    }

    /// Checks that hidden states will have the UNet's width and at least its length.
    pub(super) fn check_fits(&self, text: TextShape) -> Result<()> {
        if text.length > self.length {
            return Err(self.model.fault(format!(
                "encodes {} tokens, but the UNet takes hidden states of {}",
                self.length, text.length
            )));
        }
        match self.model.output_shape("last_hidden_state") {
            Some(&[.., width]) if width != text.width => Err(self.model.fault(format!(
                "hidden states are {width} wide, but the UNet takes {}: the two are not one checkpoint's (768 is Stable \
                 Diffusion 1.x, 1024 is 2.x); give the text encoder that belongs to the UNet",
                text.width
            ))),
            _ => Ok(()),
        }
    }

    /// Hidden states of `ids`, transposed to [D, window].
    ///
    /// Ids are padded to the encoder's own length; attention is causal, so what follows the window does not change it.
    pub(super) fn encode(&mut self, ids: &[u32], pad: u32, window: usize, stop: &Stop) -> Result<Vec<f32>> {
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, pad as f32);
        let mut outputs = self.model.run(vec![("input_ids", padded)], stop)?;
        let states = self.model.take(&mut outputs, "last_hidden_state")?;
        let &[1, length, width] = states.shape() else {
            return Err(self
                .model
                .fault(format!("last_hidden_state has shape {:?}, expected [1, L, D]", states.shape())));
        };
        if length < window {
            return Err(self.model.fault(format!("last_hidden_state has {length} tokens, expected {window}")));
        }
        let states = states.to_f32_vec();
        Ok((0..width).flat_map(|d| (0..window).map(move |s| (s, d))).map(|(s, d)| states[s * width + d]).collect())
    }
}
