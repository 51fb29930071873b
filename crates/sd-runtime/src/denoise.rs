//! Denoising: the loop from noise to latents, a step of the scheduler after each evaluation of the denoiser.

mod control;
mod denoiser;
mod embedding;
mod guidance;
mod kept;
mod rescale;
mod takes;

pub(crate) use control::{ControlNet, check_pictures, control_nets};
pub(crate) use denoiser::Denoiser;
pub(crate) use guidance::{Beside, Guidance};
pub(crate) use kept::Kept;
pub use takes::Takes;

use crate::error::Result;
use crate::models::Shelf;
use crate::rng::RandomSource;
use crate::scheduler::Scheduler;
use crate::watch::Watch;

/// A scheduler, and how many of its calls are made.
pub(crate) struct Walk {
    pub(crate) scheduler: Box<dyn Scheduler>,
    pub(crate) n_calls: usize,
}

/// Denoises in place a sample with which the walk starts.
///
/// What is kept of a picture is put back after every step, with the noise that the sample began with.
pub(crate) fn denoise(
    models: &mut Shelf,
    guidance: &mut Guidance<'_>,
    Walk { scheduler, n_calls }: &mut Walk,
    sample: &mut [f32],
    source: &mut dyn RandomSource,
    kept: Option<(&Kept, &[f32])>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let timesteps = scheduler.timesteps().to_vec();
    let mut input = vec![0.0; sample.len()];
    for (step_idx, &timestep) in timesteps.iter().enumerate().take(*n_calls) {
        input.copy_from_slice(sample);
        scheduler.scale_model_input(step_idx, &mut input);
        guidance.begin(step_idx, *n_calls);
        let noise = guidance.predict(models, &input, timestep, watch)?;
        scheduler.step(step_idx, &noise, sample, source)?;
        if let Some((kept, noise)) = kept {
            kept.put_back(scheduler.as_ref(), step_idx, noise, sample);
        }
        watch.advance(sample)?;
    }
    Ok(())
}
