//! Conditioning: what a denoiser is given beside the sample and the time step, by the name of its input.
//!
//! Each family of checkpoints makes it in a way of its own, from the prompt's ids: there is one file for each.

mod clip;
mod sd;
mod sd3;

use std::collections::BTreeMap;

use sd_spec::Family;

use crate::denoise::Denoiser;
use crate::error::{Result, RuntimeError};
use crate::models::Shelf;
use crate::pipeline::PipelineConfig;
use crate::request::{GenerateOptions, Warning};
use crate::watch::Watch;

/// Values of one batch element, by the denoiser's input.
pub(crate) type Features = BTreeMap<&'static str, Vec<f32>>;

/// What a picture is drawn from, and what it is guided away from.
pub(crate) struct Conditioning {
    pub(crate) prompt: Features,
    /// Present if guidance is active.
    pub(crate) negative: Option<Features>,
}

/// Reads prompts as a family of checkpoints does.
pub(crate) trait Conditioner: Send {
    /// The denoiser's inputs that it gives, of those that not every denoiser takes.
    fn given(&self) -> &'static [&'static str];

    /// Checks that what it gives is what the denoiser takes, as far as their shapes are known.
    fn check_fits(&self, denoiser: &Denoiser) -> Result<()>;

    /// Encodes the prompt and, where guidance needs it, the negative prompt.
    fn read(&self, reading: &mut Reading<'_, '_>, options: &GenerateOptions) -> Result<Conditioning>;
}

/// What it takes to read prompts.
pub(crate) struct Reading<'a, 'w> {
    pub(crate) models: &'a mut Shelf,
    pub(crate) config: &'a PipelineConfig,
    pub(crate) denoiser: &'a Denoiser,
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
        Family::Sd3 => Ok(Box::new(sd3::Encoders::new(models)?)),
        other => Err(RuntimeError::Options(format!(
            "the models are {}'s, which are converted and run, and not drawn with yet",
            other.spec().name
        ))),
    }
}
