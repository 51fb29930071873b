//! A walk from noise to latents, and what all schedulers share of it.

use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

/// One walk from noise to latents.
///
/// Call [`start`](Self::start) once, then [`step`](Self::step) once for each of [`timesteps`](Self::timesteps), in order.
/// The state is that of one image: build another scheduler for the next.
pub trait Scheduler: std::fmt::Debug + Send {
    /// The time steps to give to the model, in order; fractional for some configurations.
    ///
    /// Their number is not always the number of steps asked for: PNDM repeats the second.
    fn timesteps(&self) -> &[f32];

    /// Turns standard normal noise in place into the first sample: noise alone, or that of the first of
    /// [`timesteps`](Self::timesteps) on a clean sample.
    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]);

    /// Scales a sample in place to what the model expects at a step.
    fn scale_model_input(&self, _step_index: usize, _sample: &mut [f32]) {}

    /// Replaces the sample by the one of the next, less noisy step; schedulers that add noise on the way draw it from the
    /// source.
    ///
    /// # Errors
    /// [`RuntimeError::StepOrder`] unless `step_index` is the next of `timesteps`; [`RuntimeError::StepLength`] if the lengths differ.
    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()>;
}

/// `signal · clean + level · noise`, in place of the noise; without a clean sample the noise stays as it is.
pub(super) fn mix(signal: f32, clean: Option<&[f32]>, level: f32, noise: &mut [f32]) {
    for (x, &clean) in noise.iter_mut().zip(clean.unwrap_or_default()) {
        *x = signal * clean + level * *x;
    }
}

/// Checks that a step is the next one and that lengths agree, and counts it.
#[derive(Debug, Default)]
pub(super) struct StepGuard {
    taken: usize,
}

impl StepGuard {
    pub(super) fn admit(&mut self, count: usize, index: usize, output: &[f32], sample: &[f32]) -> Result<()> {
        if index != self.taken || index >= count {
            return Err(RuntimeError::StepOrder { expected: self.taken, got: index, count });
        }
        if output.len() != sample.len() {
            return Err(RuntimeError::StepLength { output: output.len(), sample: sample.len() });
        }
        self.taken += 1;
        Ok(())
    }
}
