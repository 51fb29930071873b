//! Stable Diffusion 1.x and 2.x: the hidden states of one text encoder, in the denoiser's layout.

use sd_spec::{Axis, Dims, Role};

use super::{Conditioner, Reading};
use crate::denoise::Denoiser;
use crate::error::Result;
use crate::features::{Conditioning, Features};
use crate::models::{Shelf, missing, not_loaded};
use crate::part::Part;
use crate::port::{Port, size};
use crate::prompt::Window;
use crate::request::{GenerateOptions, PromptPart, Warning};
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
    pub(crate) fn new(models: &mut Shelf) -> Result<Self> {
        let signature = models.signature(Role::TextEncoder.into())?.ok_or_else(|| missing(Role::TextEncoder))?;
        let port = Port::new(Role::TextEncoder, signature, &[])?;
        port.expect_output("last_hidden_state")?;
        let mut dims = Dims::new();
        port.learn(&mut dims, |name, shape, _| format!("{name} has shape {shape:?}, expected a batch of 1"))?;
        Ok(Self { length: size(&dims, Axis::Tokens), port })
    }

    /// The encoder without so many of its last layers, if it is not the whole.
    fn without_layers(&self, n: usize, models: &mut Shelf) -> Result<Option<Port>> {
        if n == 0 {
            return Ok(None);
        }
        let part = Part::clip_skipped(Role::TextEncoder, n);
        let signature = models.signature(part)?.ok_or_else(|| not_loaded(part))?;
        Port::new(part, signature, &[]).map(Some)
    }

    /// Hidden states of a window of ids, transposed to [D, window].
    ///
    /// Ids are padded to the encoder's own length; attention is causal, so what follows the window does not change it.
    fn encode(&self, port: &Port, models: &mut Shelf, ids: &[u32], pad: u32, watch: &Watch<'_>) -> Result<Features> {
        let window = ids.len();
        let mut padded: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
        padded.resize(self.length, pad as f32);
        let mut outputs = port.run(models, [("input_ids", padded)], watch)?;
        let states = port.take(&mut outputs, "last_hidden_state")?;
        let &[1, length, width] = states.shape() else {
            return Err(port.fault(format!("last_hidden_state has shape {:?}, expected [1, L, D]", states.shape())));
        };
        if length < window {
            return Err(port.fault(format!("last_hidden_state has {length} tokens, expected {window}")));
        }
        let states = states.to_f32_vec();
        let of_channel = |d: usize| (0..window).map(move |s| s * width + d);
        Ok(Features::from([(INPUT, (0..width).flat_map(of_channel).map(|i| states[i]).collect())]))
    }
}

impl Conditioner for TextEncoder {
    fn given(&self) -> &'static [&'static str] {
        &[]
    }

    /// Hidden states must have the denoiser's width and at least its length.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()> {
        let dims = denoiser.dims();
        let (length, width) = (size(dims, Axis::Tokens), size(dims, Axis::TextWidth));
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

    fn read(&self, reading: &mut Reading<'_, '_>, options: &GenerateOptions) -> Result<Conditioning> {
        let length = size(reading.denoiser.dims(), Axis::Tokens);
        let tokenizer = reading.config.tokenizer();
        let is_guided = reading.is_guided;
        let negative_skip = options.skip_of_negative();
        let mut read = |part, prompt: &str, skip: usize| {
            let Window { ids, truncated, .. } = Window::of(tokenizer, prompt, length)?;
            reading.warnings.extend(truncated.map(|cut| Warning::PromptTruncated { part, cut }));
            let port = self.without_layers(skip, reading.models)?;
            let port = port.as_ref().unwrap_or(&self.port);
            self.encode(port, reading.models, &ids, tokenizer.pad_id(), reading.watch)
        };
        let prompt = read(PromptPart::Prompt, &options.prompt, options.clip_skip)?;
        let negative = match is_guided {
            true => {
                let text = options.negative_prompt.as_deref().unwrap_or_default();
                Some(read(PromptPart::Negative, text, negative_skip)?)
            }
            false => None,
        };
        Ok(Conditioning { prompt, negative })
    }
}
