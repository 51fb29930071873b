//! Denoising: the loop from noise to latents, a step of the scheduler after each evaluation of the denoiser.

mod control;
mod denoiser;
mod embedding;
mod evaluation;
mod forecast;
mod guidance;
mod kept;
mod rescale;
mod skipping;

pub(crate) use control::{ControlNet, check_pictures, control_nets, single_control_nets};
pub(crate) use denoiser::Denoiser;
pub(crate) use evaluation::{Denoisers, Evaluation, Said};
pub(crate) use guidance::Beside;
pub(crate) use kept::Kept;

use crate::clean::Predicted;
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
    evaluation: &mut Evaluation<'_>,
    Walk { scheduler, n_calls }: &mut Walk,
    sample: &mut [f32],
    source: &mut dyn RandomSource,
    kept: Option<(&Kept, &[f32])>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let n_calls = scheduler.timesteps().len().min(*n_calls);
    let mut forecast = evaluation.forecast(n_calls);
    let (mut input, mut before) = (vec![0.0; sample.len()], vec![0.0; sample.len()]);
    for call in 0..n_calls {
        before.copy_from_slice(sample);
        let output =
            evaluation.output((models, &mut forecast), scheduler.as_ref(), call, (sample, &mut input), watch)?;
        scheduler.step(call, &output, sample, source)?;
        if let Some((kept, noise)) = kept {
            kept.put_back(scheduler.as_ref(), call, noise, sample);
        }
        let at = evaluation.meaning(scheduler.as_ref(), call);
        watch.advance(sample, Predicted { at, output: &output, sample: &before })?;
    }
    Ok(())
}
