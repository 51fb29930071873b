//! Steps of models that were distilled from a schedule of fewer steps, as LCM and TCD take them.

use super::alphas::whole;
use super::config::SchedulerConfig;
use super::options::WalkOptions;
use crate::error::{Result, RuntimeError};

/// Steps of the schedule that models are distilled from, unless the configuration says otherwise.
pub(super) const STEPS: usize = 50;

/// Time steps of a walk, falling: some of the distilled ones, evenly chosen from the noisiest on.
///
/// # Errors
/// [`RuntimeError::SchedulerConfig`] where the schedule does not fit the model's, [`RuntimeError::StepCount`] for more steps
/// than it has.
pub(super) fn timesteps(config: &SchedulerConfig, options: &WalkOptions, in_file: usize) -> Result<Vec<i64>> {
    let train = config.num_train_timesteps;
    let original = options.original_steps.unwrap_or(in_file);
    let strength = options.strength.unwrap_or(1.0);
    if !(1..=train).contains(&original) {
        return Err(RuntimeError::SchedulerConfig(format!(
            "original_inference_steps {original} is not between 1 and {train}, the number of training steps"
        )));
    }
    if let Some(given) = &options.timesteps {
        let steps = whole(given)?;
        let n_taken = ((steps.len() as f64 * strength) as usize).min(steps.len());
        return Ok(steps[steps.len() - n_taken..].to_vec());
    }
    let ratio = train / original;
    let n_distilled = (original as f64 * strength) as usize;
    if options.steps > n_distilled {
        return Err(RuntimeError::StepCount { steps: options.steps, max: n_distilled });
    }
    // As numpy.linspace, which multiplies by a rounded step.
    let stride = n_distilled as f64 / options.steps as f64;
    let chosen = (0..options.steps).map(|i| (i as f64 * stride) as usize);
    Ok(chosen.map(|back| ((n_distilled - back) * ratio) as i64 - 1).collect())
}
