//! The part of a walk that a pipeline takes: all of it, what a picture to begin with leaves of it, or the steps before or
//! after a share of the noise schedule, where two models take turns.

use super::DiffusionPipeline;
use crate::denoise::Walk;
use crate::error::{Result, RuntimeError};
use crate::request::GenerateOptions;

impl DiffusionPipeline {
    /// The walk of one picture.
    ///
    /// A walk that ends at a share of the noise schedule makes the calls that the one which begins there leaves out, so that
    /// whatever the scheduler, both together are the whole walk. Time steps from `1000 - 1000 · share` on are the first's,
    /// as in diffusers 0.42.
    pub(super) fn walk(&self, options: &GenerateOptions) -> Result<Walk> {
        let skipped = match options.denoising_start {
            Some(share) => self.steps_before(options, share, 0)?.ok_or_else(|| {
                let n = options.n_steps();
                RuntimeError::Options(format!(
                    "none of {n} steps is left behind {share} of the noise schedule; begin earlier"
                ))
            })?,
            None => options.skipped_steps(self.config.family)?,
        };
        let scheduler = self.scheduler(options, skipped)?;
        let mut n_calls = scheduler.timesteps().len();
        if let Some(share) = options.denoising_end {
            if let Some(next) = self.steps_before(options, share, skipped)? {
                n_calls = n_calls.saturating_sub(self.scheduler(options, next)?.timesteps().len());
            }
            if n_calls == 0 {
                return Err(RuntimeError::Options(format!(
                    "denoising ends at {share} of the noise schedule, before the first of its {} steps; take more steps, \
                     or end later",
                    options.n_steps() - skipped
                )));
            }
        }
        Ok(Walk { scheduler, n_calls })
    }

    /// How many steps a walk leaves out, at least so many, whose first time step lies behind a share of the noise schedule;
    /// none where all lie before it.
    fn steps_before(&self, options: &GenerateOptions, share: f64, least: usize) -> Result<Option<usize>> {
        let train = self.config.scheduler.num_train_timesteps as f64;
        let cutoff = (train - share * train).round_ties_even();
        for skipped in least..options.n_steps() {
            let first = self.scheduler(options, skipped)?.timesteps().first().copied();
            if first.is_some_and(|first| f64::from(first) < cutoff) {
                return Ok(Some(skipped));
            }
        }
        Ok(None)
    }
}
