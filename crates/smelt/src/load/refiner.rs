//! The refiner of Stable Diffusion XL beside the model itself: a pipeline of its own, for the same size and scheduler.

use sd_runtime::scheduler::Sampler;
use sd_spec::Family;

use super::{Loaded, PipelineOptions, asked_size, from_checkpoint, from_packages};
use crate::error::{Result, refuse};
use crate::model_dir::ModelDir;
use crate::open::{Model, Opened};

/// Loads the refiner that the options name, if they name one, for a model of this family.
///
/// Options of a conversion in memory are heeded where the refiner is a checkpoint, and have been heeded by the model
/// itself where it is not.
pub(crate) fn load(options: &PipelineOptions, opened: &Opened, of: Family) -> Result<Option<Loaded>> {
    let Some(source) = &options.refiner else { return Ok(None) };
    if of != Family::Sdxl {
        refuse!("--refiner is for Stable Diffusion XL, and {} is {}; leave it out", opened.source(), of.spec().name);
    }
    let refiner = opened.opening().beside().open(source.clone())?;
    let options = PipelineOptions { with_picture: false, safety_check: false, refiner: None, ..options.clone() };
    match refiner.model() {
        Model::Checkpoint(checkpoint) => {
            if checkpoint.family() != Family::SdxlRefiner {
                refuse!("--refiner {source} is no refiner of Stable Diffusion XL, but {}", checkpoint.family().spec().name);
            }
            from_checkpoint(&options, checkpoint, super::burn::is_chosen(&options, &refiner)?).map(Some)
        }
        Model::Packages(dir) => {
            super::burn::is_chosen(&options, &refiner)?;
            let size = asked_size(&options, opened)?;
            from_packages(&options, dir, &ModelDir::find_family(dir, Family::SdxlRefiner, size)?, size).map(Some)
        }
    }
}

/// The scheduler that a pipeline has where a request names none.
pub(crate) fn scheduler(options: &PipelineOptions, loaded: &Loaded) -> Result<Sampler> {
    Ok(options.scheduler.map_or_else(|| loaded.config.scheduler.kind().map(Sampler::from), Ok)?)
}
