//! A TAESD that shows latents while they are drawn, beside whatever decodes them at last.

use sd_convert::LatentSize;
use sd_runtime::pipeline::DiffusionPipeline;
use sd_spec::Family;

use super::memory::InMemory;
use super::taesd::{Latents, Taesd};
use super::{Found, PipelineOptions};
use crate::engine::{EngineKind, EngineSpec};
use crate::error::Result;
use crate::open::Opened;
use crate::preview::SmallDecoder;

/// Loads the one that the options name, for a pipeline's latents; what the user should know of it joins what is known.
pub(crate) fn load(
    options: &PipelineOptions,
    opened: &Opened,
    (family, pipeline): (Family, &DiffusionPipeline),
    warnings: &mut Vec<String>,
) -> Result<Option<SmallDecoder>> {
    let [_, channels, height, width] = pipeline.latent_shape();
    let size = LatentSize { height, width };
    let asked = ("--preview-taesd", options.preview_taesd.as_ref());
    let Some(taesd) = Taesd::find(asked, opened, Some(size))? else { return Ok(None) };
    warnings.extend(taesd.check_fits(&Latents { family, channels: Some(channels), scale: pipeline.scale() })?);
    // It is small enough for any engine, and Burn's takes no packages, nor Core ML checkpoints.
    let engine = match options.engine.kind {
        EngineKind::Burn | EngineKind::CoreMl => EngineSpec::default(),
        _ => options.engine.clone(),
    };
    let memory = InMemory { engine, precision: None, with_burn: false, found: Found::default() };
    let options = sd_convert::Options { latent_size: Some(size), ..sd_convert::Options::default() };
    let engine = taesd.load(&memory, &options)?;
    Ok(Some(SmallDecoder { engine, scaled: taesd.scaled, shape: [channels, height, width] }))
}
