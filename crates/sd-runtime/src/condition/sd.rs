//! Stable Diffusion 1.x and 2.x: the hidden states of one text encoder, in the denoiser's layout.

use sd_spec::{Axis, Role, TextState};

use super::clip::{ClipEncoder, channels_first};
use super::{Conditioner, Reading, Texts};
use crate::denoise::Denoiser;
use crate::error::Result;
use crate::features::{Conditioning, Features};
use crate::models::Shelf;
use crate::pipeline_config::PipelineConfig;
use crate::port::size;
use crate::prompt::Emphasis;
use crate::request::{GenerateOptions, PromptPart};

/// The denoiser's input.
const INPUT: &str = "encoder_hidden_states";

/// The one text encoder.
pub(super) struct TextEncoder {
    encoder: ClipEncoder,
}

impl TextEncoder {
    pub(super) fn new(models: &mut Shelf) -> Result<Self> {
        Ok(Self { encoder: ClipEncoder::new(Role::TextEncoder, TextState::Last, models)? })
    }

    /// Hidden states of a text, [D, tokens].
    fn encode(
        &self,
        reading: &mut Reading<'_, '_>,
        part: PromptPart,
        text: &str,
        clip_skip: usize,
    ) -> Result<Features> {
        let n_tokens = size(reading.denoiser.dims(), Axis::Tokens);
        let text = self.encoder.read(reading, 0, (part, text), n_tokens / reading.n_windows, clip_skip)?;
        Ok(Features::from([(INPUT, channels_first(&[text], n_tokens))]))
    }
}

impl Conditioner for TextEncoder {
    fn given(&self) -> &'static [&'static str] {
        &[]
    }

    /// Hidden states must have the denoiser's width and at least its length.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()> {
        let (length, width) = (size(denoiser.dims(), Axis::Tokens), size(denoiser.dims(), Axis::TextWidth));
        self.encoder.check_length(length)?;
        match self.encoder.width() {
            Some(own) if own != width => Err(self.encoder.port().fault(format!(
                "hidden states are {own} wide, but the UNet takes {width}: the two are not one checkpoint's (768 is Stable \
                 Diffusion 1.x, 1024 is 2.x); give the text encoder that belongs to the UNet"
            ))),
            _ => Ok(()),
        }
    }

    fn n_windows(
        &self,
        config: &PipelineConfig,
        denoiser: &Denoiser,
        [text, _]: &[String; 2],
        emphasis: Emphasis,
    ) -> Result<usize> {
        ClipEncoder::n_windows(config, 0, text, size(denoiser.dims(), Axis::Tokens), emphasis)
    }

    fn read(&self, reading: &mut Reading<'_, '_>, texts: &Texts, options: &GenerateOptions) -> Result<Conditioning> {
        let prompt = self.encode(reading, PromptPart::Prompt, &texts.prompts[0], options.clip_skip)?;
        let negative = match reading.is_guided {
            true => {
                let text = &texts.negatives[0];
                Some(self.encode(reading, PromptPart::Negative, text, options.skip_of_negative())?)
            }
            false => None,
        };
        Ok(Conditioning { prompt, negative })
    }
}
