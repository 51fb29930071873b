//! Denoising: the loop from noise to latents, a step of the scheduler after each evaluation of the denoiser.

mod control;
mod denoiser;
mod guidance;

pub(crate) use control::{ControlNet, check_pictures, control_nets};
pub(crate) use denoiser::Denoiser;
pub(crate) use guidance::Guidance;

use crate::error::Result;
use crate::models::Shelf;
use crate::rng::RandomSource;
use crate::scheduler::Scheduler;
use crate::watch::Watch;

/// Denoises in place a sample with which the scheduler's walk starts.
pub(crate) fn denoise(
    models: &mut Shelf,
    guidance: &mut Guidance<'_>,
    scheduler: &mut dyn Scheduler,
    sample: &mut [f32],
    source: &mut dyn RandomSource,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let timesteps = scheduler.timesteps().to_vec();
    let mut input = vec![0.0; sample.len()];
    for (step_idx, &timestep) in timesteps.iter().enumerate() {
        input.copy_from_slice(sample);
        scheduler.scale_model_input(step_idx, &mut input);
        guidance.begin(step_idx, timesteps.len());
        let noise = guidance.predict(models, &input, timestep, watch)?;
        scheduler.step(step_idx, &noise, sample, source)?;
        watch.advance(sample)?;
    }
    Ok(())
}
