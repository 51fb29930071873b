//! Stable Diffusion XL and its refiner: the hidden states of all text encoders side by side, the second one's embedding of
//! the whole text, and numbers that say sizes and crop, or the refiner's aesthetic score.

use sd_spec::{Axis, FamilySpec, Stage};

use super::clip::{ClipEncoder, channels_first};
use super::{Conditioner, Extra, Reading, Texts};
use crate::conditions::{Conditions, Corner};
use crate::denoise::Denoiser;
use crate::error::Result;
use crate::features::{Conditioning, Features};
use crate::image::Size;
use crate::models::Shelf;
use crate::pipeline_config::PipelineConfig;
use crate::port::size;
use crate::prompt::Emphasis;
use crate::request::{GenerateOptions, PromptPart};

/// The denoiser's inputs.
const TEXT: &str = "encoder_hidden_states";
const POOLED: &str = "text_embeds";
const NUMBERS: &str = "time_ids";

/// Numbers of a model that is told a target size, and of one that is told an aesthetic score in its place.
const WITH_TARGET: usize = 6;
const WITH_SCORE: usize = 5;

/// Scores of what is drawn and of what it is guided away from, as diffusers has them by default.
const SCORE: f32 = 6.0;
const NEGATIVE_SCORE: f32 = 2.5;

/// The text encoders of XL, or the refiner's, which has the second alone.
pub(super) struct TextEncoders {
    encoders: Vec<ClipEncoder>,
}

impl TextEncoders {
    pub(super) fn new(family: &FamilySpec, models: &mut Shelf) -> Result<Self> {
        let roles = family.required.iter().filter(|role| role.spec().stage == Stage::Text);
        Ok(Self {
            encoders: roles.map(|&role| ClipEncoder::new(role, family.text_state, models)).collect::<Result<_>>()?,
        })
    }

    /// One row: the texts of the encoders, each by its own.
    fn encode(
        &self,
        reading: &mut Reading<'_, '_>,
        part: PromptPart,
        texts: &[String; 2],
        clip_skip: usize,
    ) -> Result<Features> {
        let n_tokens = size(reading.denoiser.dims(), Axis::Tokens);
        let window = n_tokens / reading.n_windows;
        let mut read = Vec::with_capacity(self.encoders.len());
        for (idx, (encoder, text)) in self.encoders.iter().zip(texts).enumerate() {
            read.push(encoder.read(reading, idx, (part, text), window, clip_skip)?);
        }
        let states = channels_first(&read, n_tokens);
        let pooled = read.pop().map(|text| text.pooled).unwrap_or_default();
        Ok(Features::from([(TEXT, states), (POOLED, pooled)]))
    }

    /// The row of a text that is not there, where the checkpoint has zeros for it.
    fn nothing(reading: &Reading<'_, '_>) -> Features {
        let size = |axis| size(reading.denoiser.dims(), axis);
        let (states, pooled) = (size(Axis::TextWidth) * size(Axis::Tokens), size(Axis::ProjectedWidth));
        Features::from([(TEXT, vec![0.0; states]), (POOLED, vec![0.0; pooled])])
    }

    fn n_numbers(denoiser: &Denoiser) -> usize {
        size(denoiser.dims(), Axis::SizeNumbers)
    }
}

impl Conditioner for TextEncoders {
    fn given(&self) -> &'static [&'static str] {
        &[NUMBERS, POOLED]
    }

    /// Hidden states must have the denoiser's width together and at least its length, the embedding the width that it
    /// takes, and the numbers be those that are known.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()> {
        let dims = denoiser.dims();
        self.encoders.iter().try_for_each(|encoder| encoder.check_length(size(dims, Axis::Tokens)))?;
        let Some(last) = self.encoders.last() else { return Ok(()) };
        let widths: Option<Vec<usize>> = self.encoders.iter().map(ClipEncoder::width).collect();
        let (width, pooled) = (size(dims, Axis::TextWidth), size(dims, Axis::ProjectedWidth));
        if let Some(own) = widths.map(|widths| widths.iter().sum::<usize>()).filter(|own| *own != width) {
            return Err(last.port().fault(format!(
                "hidden states of all text encoders are {own} wide, but the UNet takes {width}: they are not one \
                 checkpoint's; give the text encoders that belong to the UNet"
            )));
        }
        if let Some(own) = last.pooled_width().filter(|own| *own != pooled) {
            return Err(last.port().fault(format!(
                "pooled_outputs is {own} wide, but the UNet takes {pooled}: they are not one checkpoint's; give the text \
                 encoder that belongs to the UNet"
            )));
        }
        match Self::n_numbers(denoiser) {
            WITH_TARGET | WITH_SCORE => Ok(()),
            n => Err(denoiser.port().fault(format!("{NUMBERS} has {n} numbers a row, expected 6, or the refiner's 5"))),
        }
    }

    fn takes(&self, denoiser: &Denoiser, extra: Extra) -> bool {
        match extra {
            Extra::SecondPrompt => self.encoders.len() == 2,
            Extra::OriginalSize | Extra::Crop => true,
            Extra::TargetSize => Self::n_numbers(denoiser) == WITH_TARGET,
            Extra::AestheticScore => Self::n_numbers(denoiser) == WITH_SCORE,
        }
    }

    fn n_windows(
        &self,
        config: &PipelineConfig,
        denoiser: &Denoiser,
        texts: &[String; 2],
        emphasis: Emphasis,
    ) -> Result<usize> {
        let window = size(denoiser.dims(), Axis::Tokens);
        let of = |(idx, text): (usize, &String)| ClipEncoder::n_windows(config, idx, text, window, emphasis);
        let counts = texts.iter().take(self.encoders.len()).enumerate().map(of);
        Ok(counts.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(1))
    }

    fn read(&self, reading: &mut Reading<'_, '_>, texts: &Texts, options: &GenerateOptions) -> Result<Conditioning> {
        let [numbers, negative_numbers] = numbers(reading, options);
        let mut prompt = self.encode(reading, PromptPart::Prompt, &texts.prompts, options.clip_skip)?;
        prompt.insert(NUMBERS, numbers);
        if !reading.is_guided {
            return Ok(Conditioning { prompt, negative: None });
        }
        let mut negative = match &options.negative_prompt {
            None if reading.config.zeros_without_negative => Self::nothing(reading),
            _ => self.encode(reading, PromptPart::Negative, &texts.negatives, options.skip_of_negative())?,
        };
        negative.insert(NUMBERS, negative_numbers);
        Ok(Conditioning { prompt, negative: Some(negative) })
    }
}

/// The numbers of the prompt's row and of the negative one's.
///
/// As diffusers 0.42 has it, what a picture is guided away from was cut as the prompt's was, unless there is more to tell
/// of it: a size or a score of its own.
fn numbers(reading: &Reading<'_, '_>, options: &GenerateOptions) -> [Vec<f32>; 2] {
    let [height, width] = reading.size;
    let (own, n) = (Size { width, height }, TextEncoders::n_numbers(reading.denoiser));
    let Conditions { original_size, crop, target_size, aesthetic_score } = options.conditions;
    let (original, crop) = (original_size.unwrap_or(own), crop.unwrap_or_default());
    let (target, score) = (target_size.unwrap_or(own), aesthetic_score.unwrap_or(SCORE));
    let negative = options.negative_conditions;
    let has_more = n == WITH_SCORE || negative.original_size.is_some() || negative.target_size.is_some();
    let negative_crop = negative.crop.unwrap_or(if has_more { Corner::default() } else { crop });
    let row = |original: Size, crop: Corner, target: Size, score: f32| {
        let pairs = [original.height, original.width, crop.top, crop.left, target.height, target.width];
        let mut numbers: Vec<f32> = pairs.into_iter().map(|n| n as f32).collect();
        if n == WITH_SCORE {
            numbers.truncate(4);
            numbers.push(score);
        }
        numbers
    };
    [
        row(original, crop, target, score),
        row(
            negative.original_size.unwrap_or(original),
            negative_crop,
            negative.target_size.unwrap_or(target),
            negative.aesthetic_score.unwrap_or(NEGATIVE_SCORE),
        ),
    ]
}
