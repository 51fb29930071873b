//! A CLIP text encoder as Stable Diffusion XL and 3 use it: the state before its last layer of each token, and one
//! embedding of the whole text.

use sd_spec::{Axis, Dims, Role};

use super::Reading;
use crate::error::Result;
use crate::models::{Shelf, missing};
use crate::port::{Port, size};
use crate::prompt::Window;
use crate::request::{PromptPart, Warning};

const STATES: &str = "hidden_embeds";
const POOLED: &str = "pooled_outputs";

/// `input_ids` [1, L] → `hidden_embeds` [1, L, D] and `pooled_outputs` [1, P].
pub(super) struct ClipEncoder {
    port: Port,
    /// L: how many ids one call takes.
    length: usize,
}

/// A text as an encoder sees it.
pub(super) struct ClipText {
    /// States of all tokens of the window, one after the other: [window, D].
    pub(super) states: Vec<f32>,
    /// One embedding of all of it: [P].
    pub(super) pooled: Vec<f32>,
}

impl ClipEncoder {
    pub(super) fn new(role: Role, models: &mut Shelf) -> Result<Self> {
        let signature = models.signature(role.into())?.ok_or_else(|| missing(role))?;
        let port = Port::new(role, signature, &[])?;
        port.expect_output(STATES)?;
        port.expect_output(POOLED)?;
        let mut dims = Dims::new();
        port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
        Ok(Self { length: size(&dims, Axis::Tokens), port })
    }

    /// D, where the model file says it.
    pub(super) fn width(&self) -> Option<usize> {
        self.port.output_dims(STATES)?.last().copied()
    }

    /// P, where the model file says it.
    pub(super) fn pooled_width(&self) -> Option<usize> {
        self.port.output_dims(POOLED)?.last().copied()
    }

    /// The model's features, for what is said of them.
    pub(super) const fn port(&self) -> &Port {
        &self.port
    }

    /// Checks that it gives as many states as the denoiser takes.
    pub(super) fn check_length(&self, window: usize) -> Result<()> {
        match window > self.length {
            true => Err(self
                .port
                .fault(format!("encodes {} tokens, but the UNet takes hidden states of {window}", self.length))),
            false => Ok(()),
        }
    }

    /// Encodes a text in a window of so many tokens, with the tokenizer of that number.
    ///
    /// Ids are padded to the encoder's own length; attention is causal, so what follows the window does not change it.
    pub(super) fn read(
        &self,
        reading: &mut Reading<'_, '_>,
        tokenizer_idx: usize,
        (part, text): (PromptPart, &str),
        window: usize,
    ) -> Result<ClipText> {
        let tokenizers = &reading.config.tokenizers;
        let tokenizer = tokenizers.get(tokenizer_idx).unwrap_or_else(|| reading.config.tokenizer());
        let Window { ids, truncated, .. } = Window::of(tokenizer, text, window)?;
        let cut = truncated.map(|cut| Warning::PromptTruncated { part, cut });
        reading.warnings.extend(cut.filter(|cut| !reading.warnings.contains(cut)));
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, tokenizer.pad_id() as f32);
        let mut outputs = self.port.run(reading.models, [("input_ids", padded)], reading.watch)?;
        let states = self.port.take(&mut outputs, STATES)?;
        let pooled = self.port.take(&mut outputs, POOLED)?.to_f32_vec();
        let width = match *states.shape() {
            [1, length, width] if length >= window => width,
            ref shape => {
                return Err(self.port.fault(format!("{STATES} has shape {shape:?}, expected [1, {window}, D]")));
            }
        };
        let mut states = states.to_f32_vec();
        states.truncate(window * width);
        Ok(ClipText { states, pooled })
    }
}
