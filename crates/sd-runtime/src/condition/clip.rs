//! A CLIP text encoder as Stable Diffusion XL and 3 use it: the state before its last layer of each token, and one
//! embedding of the whole text.

use sd_spec::{Axis, Dims, Role};

use super::Reading;
use crate::error::Result;
use crate::models::{Shelf, missing, not_loaded};
use crate::part::Part;
use crate::port::{Port, size};
use crate::prompt::Window;
use crate::request::{PromptPart, Warning};

const STATES: &str = "hidden_embeds";
const POOLED: &str = "pooled_outputs";

/// `input_ids` [1, L] → `hidden_embeds` [1, L, D] and `pooled_outputs` [1, P].
pub(super) struct ClipEncoder {
    role: Role,
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
        Ok(Self { role, length: size(&dims, Axis::Tokens), port })
    }

    /// How many ids one call takes.
    pub(super) const fn length(&self) -> usize {
        self.length
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
    /// States may be those of fewer layers; the pooled embedding is always the whole encoder's, as in diffusers.
    pub(super) fn read(
        &self,
        reading: &mut Reading<'_, '_>,
        tokenizer_idx: usize,
        (part, text): (PromptPart, &str),
        window: usize,
        clip_skip: usize,
    ) -> Result<ClipText> {
        let tokenizers = &reading.config.tokenizers;
        let tokenizer = tokenizers.get(tokenizer_idx).unwrap_or_else(|| reading.config.tokenizer());
        let Window { ids, truncated, .. } = Window::of(tokenizer, text, window)?;
        let cut = truncated.map(|cut| Warning::PromptTruncated { part, cut });
        reading.warnings.extend(cut.filter(|cut| !reading.warnings.contains(cut)));
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, tokenizer.pad_id() as f32);
        let mut outputs = self.port.run(reading.models, [("input_ids", padded.clone())], reading.watch)?;
        let pooled = self.port.take(&mut outputs, POOLED)?.to_f32_vec();
        if clip_skip > 0 {
            let part = Part::clip_skipped(self.role, clip_skip);
            let signature = reading.models.signature(part)?.ok_or_else(|| not_loaded(part))?;
            outputs = Port::new(part, signature, &[])?.run(reading.models, [("input_ids", padded)], reading.watch)?;
        }
        let states = self.port.take(&mut outputs, STATES)?;
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
