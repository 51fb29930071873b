//! Denoising: the loop from noise to latents, a step of the scheduler after each evaluation of the denoiser.

mod denoiser;
mod guidance;
mod kept;
mod takes;

pub(crate) use denoiser::Denoiser;
pub(crate) use guidance::{Beside, Guidance};
pub(crate) use kept::Kept;
pub use takes::Takes;

use crate::error::Result;
use crate::models::Shelf;
use crate::rng::RandomSource;
use crate::scheduler::Scheduler;
use crate::watch::Watch;

/// Denoises in place a sample with which the scheduler's walk starts.
///
/// What is kept of a picture is put back after every step, with the noise that the sample began with.
pub(crate) fn denoise(
    models: &mut Shelf,
    guidance: &mut Guidance<'_>,
    scheduler: &mut dyn Scheduler,
    sample: &mut [f32],
    source: &mut dyn RandomSource,
    kept: Option<(&Kept, &[f32])>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let timesteps = scheduler.timesteps().to_vec();
    let mut input = vec![0.0; sample.len()];
    for (step_idx, &timestep) in timesteps.iter().enumerate() {
        input.copy_from_slice(sample);
        scheduler.scale_model_input(step_idx, &mut input);
        let noise = guidance.predict(models, &input, timestep, watch)?;
        scheduler.step(step_idx, &noise, sample, source)?;
        if let Some((kept, noise)) = kept {
            kept.put_back(scheduler, step_idx, noise, sample);
        }
        watch.advance(sample)?;
    }
    Ok(())
}
