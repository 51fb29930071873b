//! Conditioning: what a denoiser is given beside the sample and the time step, by the name of its input.
//!
//! Each family of checkpoints makes it in a way of its own, from the prompt's ids: there is one file for each.

mod clip;
mod sd;
mod sd3;
mod texts;
mod weigh;
mod xl;

pub(crate) use texts::{Texts, Turns};

use sd_spec::Family;

use crate::conditions::Conditions;
use crate::denoise::Denoiser;
use crate::error::{Result, RuntimeError};
use crate::features::Conditioning;
use crate::models::Shelf;
use crate::pipeline_config::PipelineConfig;
use crate::prompt::Emphasis;
use crate::request::{GenerateOptions, Warning};
use crate::watch::Watch;

/// Reads prompts as a family of checkpoints does.
pub(crate) trait Conditioner: Send {
    /// The denoiser's inputs that it gives, of those that not every denoiser takes.
    fn given(&self) -> &'static [&'static str];

    /// Checks that what it gives is what the denoiser takes, as far as their shapes are known.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()>;

    /// Whether it has a use for what only some families are told.
    fn takes(&self, _denoiser: &Denoiser, _extra: Extra) -> bool {
        false
    }

    /// How many windows of text the prompts fill, where the denoiser can be given several; `denoiser` is the one for one.
    fn n_windows(
        &self,
        _config: &PipelineConfig,
        _denoiser: &Denoiser,
        _read: &[String; 2],
        _: Emphasis,
    ) -> Result<usize> {
        Ok(1)
    }

    /// Encodes the prompt and, where guidance needs it, the negative prompt.
    fn read(&self, reading: &mut Reading<'_, '_>, texts: &Texts, options: &GenerateOptions) -> Result<Conditioning>;
}

/// What only some families of checkpoints are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    SecondPrompt,
    OriginalSize,
    Crop,
    TargetSize,
    AestheticScore,
}

impl Extra {
    /// What it is called in messages.
    const fn words(self) -> &'static str {
        match self {
            Self::SecondPrompt => "prompt of its own for a second text encoder",
            Self::OriginalSize => "original size",
            Self::Crop => "crop",
            Self::TargetSize => "target size",
            Self::AestheticScore => "aesthetic score",
        }
    }

    /// Those that are given.
    fn given(options: &GenerateOptions) -> impl Iterator<Item = Self> {
        let told = |is: fn(&Conditions) -> bool| is(&options.conditions) || is(&options.negative_conditions);
        [
            (options.prompt_2.is_some() || options.negative_prompt_2.is_some(), Self::SecondPrompt),
            (told(|told| told.original_size.is_some()), Self::OriginalSize),
            (told(|told| told.crop.is_some()), Self::Crop),
            (told(|told| told.target_size.is_some()), Self::TargetSize),
            (told(|told| told.aesthetic_score.is_some()), Self::AestheticScore),
        ]
        .into_iter()
        .filter_map(|(is_given, extra)| is_given.then_some(extra))
    }
}

/// Refuses what the options tell a family that has no use for it.
///
/// # Errors
/// [`RuntimeError::Options`].
pub(crate) fn check_takes(
    conditioner: &dyn Conditioner,
    denoiser: &Denoiser,
    family: Family,
    options: &GenerateOptions,
) -> Result<()> {
    match Extra::given(options).find(|extra| !conditioner.takes(denoiser, *extra)) {
        Some(extra) => Err(RuntimeError::Options(format!(
            "the model is {}, which takes no {}; leave it out",
            family.spec().name,
            extra.words()
        ))),
        None => Ok(()),
    }
}

/// What it takes to read prompts.
pub(crate) struct Reading<'a, 'w> {
    pub(crate) models: &'a mut Shelf,
    pub(crate) config: &'a PipelineConfig,
    /// The one for as many windows as are read.
    pub(crate) denoiser: &'a Denoiser,
    /// How prompts are read.
    pub(crate) emphasis: Emphasis,
    /// Windows of text that the denoiser is given.
    pub(crate) n_windows: usize,
    /// Whether pictures are guided away from the negative prompt.
    pub(crate) is_guided: bool,
    /// The picture's height and width in pixels.
    pub(crate) size: [usize; 2],
    pub(crate) watch: &'a Watch<'w>,
    /// What the user should know of the prompts.
    pub(crate) warnings: Vec<Warning>,
}

/// How the family of a pipeline reads prompts, with the text encoders that it has.
///
/// # Errors
/// [`RuntimeError::Signature`] for a text encoder that is missing or of the wrong shape.
pub(crate) fn of_family(family: Family, models: &mut Shelf) -> Result<Box<dyn Conditioner>> {
    match family {
        Family::Sd => Ok(Box::new(sd::TextEncoder::new(models)?)),
        Family::Sdxl | Family::SdxlRefiner => Ok(Box::new(xl::TextEncoders::new(family.spec(), models)?)),
        Family::Sd3 => Ok(Box::new(sd3::Encoders::new(models)?)),
        other => Err(RuntimeError::Options(format!(
            "the models are {}'s, which are converted and run, and not drawn with yet",
            other.spec().name
        ))),
    }
}
