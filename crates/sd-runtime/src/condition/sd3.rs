//! Stable Diffusion 3: two text encoders of CLIP side by side, and T5's tokens behind theirs.

use sd_spec::{Axis, Dims, Role, TextState};

use super::clip::{ClipEncoder, ClipText};
use super::{Conditioner, Extra, Reading, Texts};
use crate::denoise::Denoiser;
use crate::error::{Result, RuntimeError};
use crate::features::{Conditioning, Features};
use crate::models::Shelf;
use crate::port::{Port, size};
use crate::prompt::{self, Window};
use crate::request::{GenerateOptions, PromptPart, Warning};

/// The denoiser's inputs.
const TOKENS: &str = "token_level_text_embeddings";
const POOLED: &str = "pooled_text_embeddings";

/// The text encoders, of which the third may be missing: its tokens are zeros then, as in diffusers.
pub(super) struct Encoders {
    clip: [ClipEncoder; 2],
    t5: Option<T5>,
}

/// `input_ids` [1, L] → `encoder_hidden_states` [1, L, D].
struct T5 {
    port: Port,
    length: usize,
}

impl Encoders {
    pub(super) fn new(models: &mut Shelf) -> Result<Self> {
        let mut encoder = |role| ClipEncoder::new(role, TextState::Penultimate, models);
        let clip = [encoder(Role::TextEncoder)?, encoder(Role::TextEncoder2)?];
        let t5 = match models.signature(Role::TextEncoder3.into())? {
            None => None,
            Some(signature) => {
                let port = Port::new(Role::TextEncoder3, signature, &[])?;
                port.expect_output("encoder_hidden_states")?;
                let mut dims = Dims::new();
                port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
                Some(T5 { length: size(&dims, Axis::Tokens), port })
            }
        };
        Ok(Self { clip, t5 })
    }

    /// Tokens of CLIP's; both encoders take as many.
    const fn clip_length(&self) -> usize {
        self.clip[0].length()
    }

    /// The features of a text, which the second text encoder may have in other words; T5 has the first one's.
    fn encode(
        &self,
        reading: &mut Reading<'_, '_>,
        part: PromptPart,
        texts: &[String; 2],
        clip_skip: usize,
    ) -> Result<Features> {
        let dims = reading.denoiser.dims();
        let (n_tokens, width) = (size(dims, Axis::JointTokens), size(dims, Axis::JointWidth));
        let (mut pooled, mut rows) = (Vec::new(), vec![0.0; n_tokens * width]);
        let (clip_length, mut column) = (self.clip_length(), 0);
        for (idx, (encoder, text)) in self.clip.iter().zip(texts).enumerate() {
            let ClipText { states, pooled: own_pooled } =
                encoder.read(reading, idx, (part, text), clip_length, clip_skip)?;
            let own = states.len() / clip_length.max(1);
            for (row, state) in rows.chunks_mut(width).zip(states.chunks(own)) {
                let place =
                    row.get_mut(column..column + own).ok_or_else(|| too_wide(encoder.port(), column + own, width))?;
                place.copy_from_slice(state);
            }
            column += own;
            pooled.extend(own_pooled);
        }
        if let Some(t5) = &self.t5 {
            let cut = t5.encode(reading, &texts[0], &mut rows[clip_length * width..], width)?;
            let cut = cut.map(|cut| Warning::PromptTruncated { part, cut });
            reading.warnings.extend(cut.filter(|cut| !reading.warnings.contains(cut)));
        }
        let channels_first = (0..width).flat_map(|d| (0..n_tokens).map(move |s| s * width + d));
        Ok(Features::from([(TOKENS, channels_first.map(|i| rows[i]).collect()), (POOLED, pooled)]))
    }
}

impl T5 {
    /// Writes the states of a text's tokens; says what was cut off.
    fn encode(
        &self,
        reading: &mut Reading<'_, '_>,
        text: &str,
        rows: &mut [f32],
        width: usize,
    ) -> Result<Option<crate::prompt::TruncatedText>> {
        let tokenizer = reading.config.t5.as_ref().ok_or_else(|| {
            RuntimeError::Tokenizer("the pipeline has a third text encoder, T5, and no tokenizer for it".into())
        })?;
        // Weights count for CLIP alone, as in AUTOMATIC1111's web UI 1.10; brackets are no part of the text.
        let text = prompt::text_of(text, reading.emphasis)?;
        let Window { ids, truncated, .. } = Window::of(tokenizer, &text, self.length)?;
        let ids = ids.iter().map(|&id| id as f32).collect();
        let mut outputs = self.port.run(reading.models, [("input_ids", ids)], reading.watch)?;
        let states = self.port.take(&mut outputs, "encoder_hidden_states")?;
        match *states.shape() {
            [1, length, own] if length == self.length && own == width => rows.copy_from_slice(&states.to_f32_vec()),
            ref shape => {
                let length = self.length;
                let what = format!("encoder_hidden_states has shape {shape:?}, expected [1, {length}, {width}]");
                return Err(self.port.fault(what));
            }
        }
        Ok(truncated)
    }
}

fn too_wide(port: &Port, own: usize, width: usize) -> RuntimeError {
    port.fault(format!("hidden states of both text encoders are {own} wide, but the mmdit takes {width}"))
}

impl Conditioner for Encoders {
    fn given(&self) -> &'static [&'static str] {
        &[]
    }

    /// The denoiser takes CLIP's tokens and T5's behind them, and both pooled embeddings side by side.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()> {
        let dims = denoiser.dims();
        let (n_tokens, width) = (size(dims, Axis::JointTokens), size(dims, Axis::JointWidth));
        let [first, second] = &self.clip;
        if first.length() != second.length() {
            let (own, others) = (second.length(), first.length());
            return Err(second.port().fault(format!("encodes {own} tokens, and the first text encoder {others}")));
        }
        let clip = self.clip_length();
        let Some(rest) = n_tokens.checked_sub(clip) else {
            return Err(denoiser.port().fault(format!("takes {n_tokens} tokens, and the text encoders give {clip}")));
        };
        if let Some(t5) = self.t5.as_ref().filter(|t5| t5.length != rest) {
            return Err(t5.port.fault(format!(
                "encodes {} tokens, but the mmdit takes {n_tokens}, which are {clip} of CLIP's and {rest}; convert both with \
                 one --text-length",
                t5.length
            )));
        }
        if let Some(own) = first.width().zip(second.width()).map(|(a, b)| a + b).filter(|own| *own > width) {
            return Err(too_wide(second.port(), own, width));
        }
        let pooled = size(dims, Axis::JointPooledWidth);
        match first.pooled_width().zip(second.pooled_width()).map(|(a, b)| a + b) {
            Some(own) if own != pooled => Err(second.port().fault(format!(
                "pooled embeddings of both text encoders are {own} wide, but the mmdit takes {pooled}"
            ))),
            _ => Ok(()),
        }
    }

    fn takes(&self, _: &Denoiser, extra: Extra) -> bool {
        extra == Extra::SecondPrompt
    }

    fn read(&self, reading: &mut Reading<'_, '_>, texts: &Texts, options: &GenerateOptions) -> Result<Conditioning> {
        let prompt = self.encode(reading, PromptPart::Prompt, &texts.prompts, options.clip_skip)?;
        if !reading.is_guided {
            return Ok(Conditioning { prompt, negative: None });
        }
        let negative = self.encode(reading, PromptPart::Negative, &texts.negatives, options.skip_of_negative())?;
        Ok(Conditioning { prompt, negative: Some(negative) })
    }
}
