//! A CLIP text encoder as Stable Diffusion uses it: a state of each token, and of XL and 3 one embedding of the whole text.

use sd_spec::{Axis, Dims, Role, TextState};

use super::{Reading, weigh};
use crate::engine::Tensors;
use crate::error::Result;
use crate::models::{Shelf, missing, not_loaded};
use crate::part::Part;
use crate::pipeline_config::PipelineConfig;
use crate::port::{Port, size};
use crate::prompt::{self, ATTENTION_MASK, Chunk, Emphasis, Layout, Passage, cut_off};
use crate::request::{PromptPart, Warning};

const INPUT: &str = "input_ids";
const POOLED: &str = "pooled_outputs";
/// What is added where a token is not seen: no weight is left of it, and half precision has it.
const UNSEEN: f32 = -3e4;

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
    /// States of all tokens of all windows, one after the other: [windows · window, D].
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

    /// Windows of so many tokens that the texts fill, with the tokenizer of that number; one where prompts are cut.
    pub(super) fn n_windows(
        config: &PipelineConfig,
        tokenizer_idx: usize,
        text: &str,
        window: usize,
        emphasis: Emphasis,
    ) -> Result<usize> {
        if emphasis == Emphasis::Plain {
            return Ok(1);
        }
        let layout = Layout::of(config.tokenizer_of(tokenizer_idx), window, emphasis)?;
        let most = |passage: &Passage| -> Result<usize> {
            let counts = passage.texts.iter().map(|(text, _)| Ok(layout.chunks(text)?.len()));
            Ok(counts.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(1))
        };
        prompt::parse(text, emphasis)?.iter().map(most).sum()
    }

    /// Encodes a text in windows of so many tokens, with the tokenizer of that number: as many windows as are read, where the
    /// text has fewer with empty ones behind it.
    ///
    /// States may be those of fewer layers; the pooled embedding is always the whole encoder's, as in diffusers, and of the
    /// first window.
    pub(super) fn read(
        &self,
        reading: &mut Reading<'_, '_>,
        tokenizer_idx: usize,
        (part, text): (PromptPart, &str),
        window: usize,
        clip_skip: usize,
    ) -> Result<ClipText> {
        let config = reading.config;
        let tokenizer = config.tokenizer_of(tokenizer_idx);
        let layout = Layout::of(tokenizer, window, reading.emphasis)?;
        let by = Encoding { encoder: self, layout, window, pad: tokenizer.pad_id(), clip_skip };
        let (n_windows, mut read) = (reading.n_windows, ClipText { states: Vec::new(), pooled: Vec::new() });
        let mut n_left = n_windows;
        for (idx, passage) in prompt::parse(text, reading.emphasis)?.iter().enumerate() {
            let passage = by.passage(reading, (part, passage), n_left)?;
            n_left -= passage.n_windows;
            read.states.extend(passage.text.states);
            if idx == 0 {
                read.pooled = passage.text.pooled;
            }
        }
        for _ in 0..n_left {
            read.states.extend(by.window(reading, &by.layout.empty())?.states);
        }
        Ok(read)
    }
}

/// How a text is encoded.
struct Encoding<'e, 't> {
    encoder: &'e ClipEncoder,
    layout: Layout<'t>,
    window: usize,
    pad: u32,
    clip_skip: usize,
}

/// A passage that is read.
struct Read {
    text: ClipText,
    n_windows: usize,
}

impl Encoding<'_, '_> {
    /// A passage in as many windows as it fills, and at most so many; what is cut off is said.
    fn passage(
        &self,
        reading: &mut Reading<'_, '_>,
        (part, passage): (PromptPart, &Passage),
        most: usize,
    ) -> Result<Read> {
        let mut laid = Vec::with_capacity(passage.texts.len());
        for (text, share) in &passage.texts {
            let mut chunks = self.layout.chunks(text)?;
            let cut = cut_off(text, &chunks, most).map(|cut| Warning::PromptTruncated { part, cut });
            reading.warnings.extend(cut.filter(|cut| !reading.warnings.contains(cut)));
            chunks.truncate(most);
            laid.push((text, chunks, *share));
        }
        let n_windows = laid.iter().map(|(_, chunks, _)| chunks.len()).max().unwrap_or(0);
        let mut sum: Option<ClipText> = None;
        for (text, mut chunks, share) in laid {
            chunks.resize_with(n_windows, || self.layout.empty());
            let weights: Vec<f64> = text.iter().flatten().map(|piece| piece.weight).collect();
            let mut read = ClipText { states: Vec::new(), pooled: Vec::new() };
            for (idx, chunk) in chunks.iter().enumerate() {
                let ClipText { states, pooled } = self.weighted(reading, chunk, &weights)?;
                read.states.extend(states);
                if idx == 0 {
                    read.pooled = pooled;
                }
            }
            match &mut sum {
                None if share == 1.0 => sum = Some(read),
                None => sum = Some(read.times(share)),
                Some(sum) => sum.add(&read.times(share)),
            }
        }
        let mut text = sum.unwrap_or(ClipText { states: Vec::new(), pooled: Vec::new() });
        if passage.weight != 1.0 {
            let empty = self.window(reading, &self.layout.empty())?.states;
            let weight = passage.weight as f32;
            text.states.iter_mut().zip(empty.iter().cycle()).for_each(|(x, empty)| *x = empty + (*x - empty) * weight);
        }
        Ok(Read { text, n_windows })
    }

    /// The states of a window, with what weights do to them; `pieces` are the weights of the text's pieces.
    fn weighted(&self, reading: &mut Reading<'_, '_>, chunk: &Chunk, pieces: &[f64]) -> Result<ClipText> {
        let mut text = self.window(reading, chunk)?;
        match reading.emphasis {
            Emphasis::Original => weigh::multiply(&mut text.states, chunk, true),
            Emphasis::NoNorm => weigh::multiply(&mut text.states, chunk, false),
            Emphasis::Ignore | Emphasis::Plain => {}
            Emphasis::Comfy if chunk.weights.iter().all(|weight| *weight == 1.0) => {}
            Emphasis::Comfy => {
                let empty = self.window(reading, &self.layout.empty())?.states;
                weigh::move_from(&mut text.states, &empty, chunk);
            }
            Emphasis::Compel if pieces.iter().all(|weight| *weight == 1.0) => {}
            Emphasis::Compel => self.mix_without(reading, chunk, pieces, &mut text.states)?,
        }
        Ok(text)
    }

    /// Mixes the states of a window with those of a window in which pieces of less weight are not looked at.
    fn mix_without(
        &self,
        reading: &mut Reading<'_, '_>,
        chunk: &Chunk,
        pieces: &[f64],
        states: &mut Vec<f32>,
    ) -> Result<()> {
        let empty = self.window(reading, &self.layout.empty())?.states;
        weigh::move_from(states, &empty, chunk);
        let (whole, mut sum) = (states.clone(), 1.0);
        let mut mixed: Vec<f64> = whole.iter().map(|x| f64::from(*x)).collect();
        for (idx, weight) in pieces.iter().enumerate().filter(|(_, weight)| **weight < 1.0) {
            let share = weigh::share_without(*weight);
            let without = match chunk.pieces.contains(&Some(idx)) {
                true => {
                    let mut without = self.without(reading, chunk, idx)?;
                    weigh::move_from(&mut without, &empty, chunk);
                    without
                }
                false => whole.clone(),
            };
            mixed.iter_mut().zip(without).for_each(|(x, without)| *x += share * f64::from(without));
            sum += share;
        }
        *states = mixed.into_iter().map(|x| (x / sum) as f32).collect();
        Ok(())
    }

    /// The states of a window where no token looks at those of a piece.
    fn without(&self, reading: &mut Reading<'_, '_>, chunk: &Chunk, piece: usize) -> Result<Vec<f32>> {
        let part = Part::masked(self.encoder.role, self.clip_skip);
        let signature = reading.models.signature(part)?.ok_or_else(|| not_loaded(part))?;
        let port = Port::new(part, signature, &[ATTENTION_MASK])?;
        let length = self.encoder.length;
        let is_seen = |place: usize| chunk.pieces.get(place).copied().flatten() != Some(piece);
        let mask = (0..length)
            .flat_map(|row| (0..length).map(move |place| if place <= row && is_seen(place) { 0.0 } else { UNSEEN }));
        let inputs = [(INPUT, self.padded(&chunk.ids)), (ATTENTION_MASK, mask.collect())];
        let mut outputs = port.run(reading.models, inputs, reading.watch)?;
        self.states(&mut outputs)
    }

    /// Encodes a window as it is.
    ///
    /// Ids are padded to the encoder's own length; attention is causal, so what follows the window does not change it.
    fn window(&self, reading: &mut Reading<'_, '_>, chunk: &Chunk) -> Result<ClipText> {
        let encoder = self.encoder;
        let skipped = encoder.without_layers(self.clip_skip, reading.models)?;
        let ids = self.padded(&chunk.ids);
        let mut run = |port: &Port| port.run(reading.models, [(INPUT, ids.clone())], reading.watch);
        let (mut outputs, mut pooled) = (Tensors::new(), Vec::new());
        if skipped.is_none() || encoder.is_pooled {
            outputs = run(&encoder.port)?;
        }
        if encoder.is_pooled {
            pooled = encoder.port.take(&mut outputs, POOLED)?.to_f32_vec();
        }
        if let Some(port) = &skipped {
            outputs = run(port)?;
        }
        Ok(ClipText { states: self.states(&mut outputs)?, pooled })
    }

    fn padded(&self, ids: &[u32]) -> Vec<f32> {
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.encoder.length, self.pad as f32);
        padded
    }

    /// The states of the window's tokens among an encoder's outputs: [window, D].
    fn states(&self, outputs: &mut Tensors) -> Result<Vec<f32>> {
        let ClipEncoder { port, states: name, .. } = self.encoder;
        let states = port.take(outputs, name)?;
        let width = match *states.shape() {
            [1, length, width] if length >= self.window => width,
            ref shape => {
                return Err(port.fault(format!("{name} has shape {shape:?}, expected [1, {}, D]", self.window)));
            }
        };
        let mut states = states.to_f32_vec();
        states.truncate(self.window * width);
        Ok(states)
    }
}

impl ClipText {
    fn times(mut self, share: f64) -> Self {
        self.states.iter_mut().chain(&mut self.pooled).for_each(|x| *x *= share as f32);
        self
    }

    fn add(&mut self, other: &Self) {
        let own = self.states.iter_mut().chain(&mut self.pooled);
        own.zip(other.states.iter().chain(&other.pooled)).for_each(|(x, other)| *x += other);
    }
}

/// States of all encoders as the denoiser takes them: [all widths, tokens] of one [tokens, width] each.
pub(super) fn channels_first(texts: &[ClipText], n_tokens: usize) -> Vec<f32> {
    let columns = texts.iter().flat_map(|ClipText { states, .. }| {
        let width = states.len() / n_tokens.max(1);
        (0..width).flat_map(move |d| (0..n_tokens).map(move |s| states[s * width + d]))
    });
    columns.collect()
}
