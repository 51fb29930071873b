//! Stable Diffusion 1.x and 2.x: the hidden states of one text encoder, in the denoiser's layout.

use sd_spec::{Axis, Dims, Role};

use super::Features;
use crate::engine::Signature;
use crate::error::Result;
use crate::models::Shelf;
use crate::port::{Port, size};
use crate::watch::Watch;

/// The denoiser's input.
const INPUT: &str = "encoder_hidden_states";

/// `input_ids` [1, L] → `last_hidden_state` [1, L, D].
pub(crate) struct TextEncoder {
    port: Port,
    /// L: how many ids one call takes.
    length: usize,
}

impl TextEncoder {
    pub(crate) fn new(signature: Signature) -> Result<Self> {
        let port = Port::new(Role::TextEncoder, signature)?;
        port.expect_output("last_hidden_state")?;
        let mut dims = Dims::new();
        port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
        Ok(Self { length: size(&dims, Axis::Tokens), port })
    }

    /// Checks that hidden states will have the denoiser's width and at least its length.
    pub(crate) fn check_fits(&self, denoiser: &Dims) -> Result<()> {
        let (length, width) = (size(denoiser, Axis::Tokens), size(denoiser, Axis::TextWidth));
        if length > self.length {
            return Err(self
                .port
                .fault(format!("encodes {} tokens, but the UNet takes hidden states of {length}", self.length)));
        }
        match self.port.output_dims("last_hidden_state") {
            Some(&[.., own]) if own != width => Err(self.port.fault(format!(
                "hidden states are {own} wide, but the UNet takes {width}: the two are not one checkpoint's (768 is Stable \
                 Diffusion 1.x, 1024 is 2.x); give the text encoder that belongs to the UNet"
            ))),
            _ => Ok(()),
        }
    }

    /// Hidden states of a window of ids, transposed to [D, window].
    ///
    /// Ids are padded to the encoder's own length; attention is causal, so what follows the window does not change it.
    pub(crate) fn encode(&self, models: &mut Shelf, ids: &[u32], pad: u32, watch: &Watch<'_>) -> Result<Features> {
        let window = ids.len();
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, pad as f32);
        let mut outputs = self.port.run(models, [("input_ids", padded)], watch)?;
        let states = self.port.take(&mut outputs, "last_hidden_state")?;
        let &[1, length, width] = states.shape() else {
            return Err(self
                .port
                .fault(format!("last_hidden_state has shape {:?}, expected [1, L, D]", states.shape())));
        };
        if length < window {
            return Err(self.port.fault(format!("last_hidden_state has {length} tokens, expected {window}")));
        }
        let states = states.to_f32_vec();
        let of_channel = |d: usize| (0..window).map(move |s| s * width + d);
        Ok(Features::from([(INPUT, (0..width).flat_map(of_channel).map(|i| states[i]).collect())]))
    }
}
