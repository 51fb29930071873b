//! The refiner of Stable Diffusion XL beside the model itself: a pipeline of its own, for the same size and scheduler.

use sd_convert::{Beginning, LatentSize};
use sd_spec::Family;

use super::others::Others;
use super::{Loaded, PipelineOptions, burn, from_checkpoint, from_packages};
use crate::core_ml;
use crate::error::{Result, refuse};
use crate::model_dir::ModelDir;
use crate::open::{Model, Opened};
use crate::size::Sizes;

/// Opens the refiner that the options name, if they name one, and refuses what cannot be one of this model.
pub(crate) fn open(options: &PipelineOptions, opened: &Opened) -> Result<Option<Opened>> {
    let Some(source) = &options.refiner else { return Ok(None) };
    let family = match opened.model() {
        Model::Checkpoint(checkpoint) => checkpoint.family(),
        Model::Packages(dir) => ModelDir::find(dir, None)?.family(),
    };
    if family != Family::Sdxl {
        refuse!(
            "--refiner is for Stable Diffusion XL, and {} is {}; leave it out",
            opened.source(),
            family.spec().name
        );
    }
    let refiner = opened.opening().beside().open(source.clone())?;
    match refiner.model() {
        Model::Checkpoint(checkpoint) if checkpoint.family() != Family::SdxlRefiner => {
            refuse!("--refiner {source} is no refiner of Stable Diffusion XL, but {}", checkpoint.family().spec().name)
        }
        Model::Packages(dir) => drop(ModelDir::find_family(dir, Family::SdxlRefiner, None)?),
        Model::Checkpoint(_) => {}
    }
    Ok(Some(refiner))
}

/// Loads a refiner for latents of the model's size.
///
/// Options of a conversion in memory are heeded where the refiner is a checkpoint; where it is packages, the model itself
/// has heeded or refused them.
pub(crate) fn load(options: &PipelineOptions, refiner: &Opened, size: LatentSize) -> Result<Loaded> {
    let options = PipelineOptions {
        sizes: Sizes { latent_size: vec![size.into()], ..Sizes::default() },
        with_picture: false,
        safety_check: false,
        refiner: None,
        preview_taesd: None,
        controlnets: Vec::new(),
        clip_skips: Vec::new(),
        skip_layers: Vec::new(),
        text_length: None,
        ..options.clone()
    };
    let with_burn = burn::is_chosen(&options, refiner)?;
    core_ml::check_draws(&options.engine, refiner)?;
    let others = Others::find(&options, refiner, Some(size))?;
    match refiner.model() {
        // The model itself composes the picture, and says what is wrong with its size.
        Model::Checkpoint(checkpoint) => from_checkpoint(&options, (checkpoint, Beginning::Picture), others, with_burn),
        Model::Packages(dir) => {
            let packages = ModelDir::find_family(dir, Family::SdxlRefiner, Some(size))?;
            from_packages(&options, dir, &packages, others, Some(size))
        }
    }
}
