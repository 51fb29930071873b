//! A CLIP text encoder as Stable Diffusion uses it: a state of each token, and of XL and 3 one embedding of the whole text.

use sd_spec::{Axis, Dims, Role, TextState};

use super::Reading;
use crate::engine::Tensors;
use crate::error::Result;
use crate::models::{Shelf, missing, not_loaded};
use crate::part::Part;
use crate::port::{Port, size};
use crate::prompt::Window;
use crate::request::{PromptPart, Warning};

const POOLED: &str = "pooled_outputs";

/// `input_ids` [1, L] → states [1, L, D] and, where the states are not the last ones, `pooled_outputs` [1, P].
pub(super) struct ClipEncoder {
    role: Role,
    port: Port,
    /// The output with the states.
    states: &'static str,
    /// Whether the embedding of the whole text counts too.
    is_pooled: bool,
    /// L: how many ids one call takes.
    length: usize,
}

/// A text as an encoder sees it.
pub(super) struct ClipText {
    /// States of all tokens of the window, one after the other: [window, D].
    pub(super) states: Vec<f32>,
    /// One embedding of all of it: [P]; empty where it does not count.
    pub(super) pooled: Vec<f32>,
}

impl ClipEncoder {
    /// The encoder of a role, of which that state counts.
    ///
    /// # Errors
    /// Where it is missing, or has features of another kind.
    pub(super) fn new(role: Role, state: TextState, models: &mut Shelf) -> Result<Self> {
        let (states, is_pooled) = match state {
            TextState::Last => ("last_hidden_state", false),
            TextState::Penultimate => ("hidden_embeds", true),
        };
        let signature = models.signature(role.into())?.ok_or_else(|| missing(role))?;
        let port = Port::new(role, signature, &[])?;
        port.expect_output(states)?;
        if is_pooled {
            port.expect_output(POOLED)?;
        }
        let mut dims = Dims::new();
        port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
        Ok(Self { role, length: size(&dims, Axis::Tokens), port, states, is_pooled })
    }

    /// How many ids one call takes.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// D, where the model file says it.
    pub(super) fn width(&self) -> Option<usize> {
        self.port.output_dims(self.states)?.last().copied()
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

    /// The encoder without so many of its last layers, if it is not the whole.
    fn without_layers(&self, n: usize, models: &mut Shelf) -> Result<Option<Port>> {
        if n == 0 {
            return Ok(None);
        }
        let part = Part::clip_skipped(self.role, n);
        let signature = models.signature(part)?.ok_or_else(|| not_loaded(part))?;
        Port::new(part, signature, &[]).map(Some)
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
        let skipped = self.without_layers(clip_skip, reading.models)?;
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, tokenizer.pad_id() as f32);
        let mut run = |port: &Port| port.run(reading.models, [("input_ids", padded.clone())], reading.watch);
        let (mut outputs, mut pooled) = (Tensors::new(), Vec::new());
        if skipped.is_none() || self.is_pooled {
            outputs = run(&self.port)?;
        }
        if self.is_pooled {
            pooled = self.port.take(&mut outputs, POOLED)?.to_f32_vec();
        }
        if let Some(port) = &skipped {
            outputs = run(port)?;
        }
        let states = self.port.take(&mut outputs, self.states)?;
        let width = match *states.shape() {
            [1, length, width] if length >= window => width,
            ref shape => {
                return Err(self.port.fault(format!("{} has shape {shape:?}, expected [1, {window}, D]", self.states)));
            }
        };
        let mut states = states.to_f32_vec();
        states.truncate(window * width);
        Ok(ClipText { states, pooled })
    }
}

/// States of all encoders as the denoiser takes them: [all widths, window] of one [window, width] each.
pub(super) fn channels_first(texts: &[ClipText], window: usize) -> Vec<f32> {
    let columns = texts.iter().flat_map(|ClipText { states, .. }| {
        let width = states.len() / window.max(1);
        (0..width).flat_map(move |d| (0..window).map(move |s| states[s * width + d]))
    });
    columns.collect()
}
