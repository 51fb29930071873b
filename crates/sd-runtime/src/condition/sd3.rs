//! Stable Diffusion 3: two text encoders of CLIP side by side, and T5's tokens behind theirs.

use sd_spec::{Axis, Dims, Role};

use super::clip::{ClipEncoder, Encoded};
use super::{Conditioner, Conditioning, Features, Reading};
use crate::denoise::Denoiser;
use crate::error::{Result, RuntimeError};
use crate::models::Shelf;
use crate::port::{Port, size};
use crate::prompt::Window;
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
        let clip = [ClipEncoder::new(Role::TextEncoder, models)?, ClipEncoder::new(Role::TextEncoder2, models)?];
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

    /// The features of one text.
    fn encode(
        &self,
        reading: &mut Reading<'_, '_>,
        part: PromptPart,
        text: &str,
        clip_skip: usize,
    ) -> Result<Features> {
        let dims = reading.denoiser.dims();
        let (n_tokens, width) = (size(dims, Axis::JointTokens), size(dims, Axis::JointWidth));
        let (mut pooled, mut rows) = (Vec::new(), vec![0.0; n_tokens * width]);
        let (mut column, mut cut) = (0, None);
        for (idx, encoder) in self.clip.iter().enumerate() {
            let tokenizer = reading.config.clip_tokenizer(idx);
            let Window { ids, truncated, .. } = Window::of(tokenizer, text, encoder.length())?;
            let Encoded { states, width: own, pooled: own_pooled } =
                encoder.encode(reading.models, &ids, clip_skip, reading.watch)?;
            for (row, state) in rows.chunks_mut(width).zip(states.chunks(own)) {
                let place =
                    row.get_mut(column..column + own).ok_or_else(|| too_wide(encoder.port(), column + own, width))?;
                place.copy_from_slice(state);
            }
            column += own;
            pooled.extend(own_pooled);
            cut = cut.or(truncated);
        }
        // CLIP loses the end of a long text, and T5 may still have it.
        if let Some(t5) = &self.t5 {
            cut = t5.encode(reading, text, &mut rows[self.clip_length() * width..], width)?;
        }
        reading.warnings.extend(cut.map(|cut| Warning::PromptTruncated { part, cut }));
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
        let Window { ids, truncated, .. } = Window::of(tokenizer, text, self.length)?;
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
        let ((a, a_pooled), (b, b_pooled)) = (first.widths(), second.widths());
        if let Some(own) = a.zip(b).map(|(a, b)| a + b).filter(|own| *own > width) {
            return Err(too_wide(second.port(), own, width));
        }
        let pooled = size(dims, Axis::JointPooledWidth);
        match a_pooled.zip(b_pooled).map(|(a, b)| a + b) {
            Some(own) if own != pooled => Err(second.port().fault(format!(
                "pooled embeddings of both text encoders are {own} wide, but the mmdit takes {pooled}"
            ))),
            _ => Ok(()),
        }
    }

    fn read(&self, reading: &mut Reading<'_, '_>, options: &GenerateOptions) -> Result<Conditioning> {
        let prompt = self.encode(reading, PromptPart::Prompt, &options.prompt, options.clip_skip)?;
        let negative_skip = options.negative_clip_skip.unwrap_or(options.clip_skip);
        let negative = match reading.is_guided {
            true => Some(self.encode(reading, PromptPart::Negative, &options.negative_prompt, negative_skip)?),
            false => None,
        };
        Ok(Conditioning { prompt, negative })
    }
}
