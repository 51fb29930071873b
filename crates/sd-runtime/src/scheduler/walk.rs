//! A walk from noise to latents, and what all schedulers share of it.

use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

/// A walk as it is laid out before the model is asked: its calls, and how much noise a sample has at each.
pub trait Course {
    /// The time steps to give to the model, in order; fractional for some configurations.
    ///
    /// There is one for each call of the model, so their number is not always the number of steps asked for: PNDM repeats
    /// the second, and Heun's method and its relatives ask the model twice for each step but the last.
    fn timesteps(&self) -> &[f32];

    /// Standard deviation of a first sample of noise alone (diffusers' `init_noise_sigma`).
    fn init_noise_sigma(&self) -> f32 {
        1.0
    }

    /// Turns standard normal noise in place into the sample of a call of the model: that much noise on a clean sample.
    ///
    /// The index is one of [`timesteps`](Self::timesteps); a larger one gives the clean sample itself.
    fn add_noise(&self, step_index: usize, clean: &[f32], noise: &mut [f32]);

    /// Scales a sample in place to what the model expects at a step.
    fn scale_model_input(&self, _step_index: usize, _sample: &mut [f32]) {}
}

/// One walk from noise to latents.
///
/// Call [`start`](Self::start) once, then [`step`](Self::step) once for each of [`timesteps`](Self::timesteps), in order.
/// The state is that of one image: build another scheduler for the next.
pub trait Scheduler: std::fmt::Debug + Send {
    /// How the walk is laid out, which schedulers share that count alike.
    fn course(&self) -> &dyn Course;

    /// Replaces the sample by the one of the next call of the model, or by the end; schedulers that add noise on the way
    /// draw it from the source, in the order and as often as diffusers does, each time for the whole sample.
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

    /// As [`Course::timesteps`].
    fn timesteps(&self) -> &[f32] {
        self.course().timesteps()
    }

    /// As [`Course::init_noise_sigma`].
    fn init_noise_sigma(&self) -> f32 {
        self.course().init_noise_sigma()
    }

    /// As [`Course::add_noise`].
    fn add_noise(&self, step_index: usize, clean: &[f32], noise: &mut [f32]) {
        self.course().add_noise(step_index, clean, noise);
    }

    /// As [`Course::scale_model_input`].
    fn scale_model_input(&self, step_index: usize, sample: &mut [f32]) {
        self.course().scale_model_input(step_index, sample);
    }

    /// Turns standard normal noise in place into the first sample: noise alone, or that of the first of
    /// [`timesteps`](Self::timesteps) on a clean sample.
    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]) {
        match clean {
            Some(clean) => self.add_noise(0, clean, noise),
            None if self.init_noise_sigma() == 1.0 => {}
            None => noise.iter_mut().for_each(|x| *x *= self.init_noise_sigma()),
        }
    }
}

/// `signal · clean + level · noise`, in place of the noise.
pub(super) fn mix(signal: f32, clean: &[f32], level: f32, noise: &mut [f32]) {
    for (x, &clean) in noise.iter_mut().zip(clean) {
        *x = signal * clean + level * *x;
    }
}

/// `keep · sample + Σ gain · term`, in place of the sample; computed in f64 and rounded once.
pub(super) fn blend(sample: &mut [f32], keep: f64, terms: &[(f64, &[f32])]) {
    for (i, x) in sample.iter_mut().enumerate() {
        let sum: f64 = terms.iter().map(|(gain, term)| gain * f64::from(term[i])).sum();
        *x = (keep * f64::from(*x) + sum) as f32;
    }
}

/// Adds as many draws as the sample has values, times a factor; draws also where the factor is zero.
pub(super) fn add_draws(sample: &mut [f32], factor: f64, noise: &mut dyn RandomSource) {
    let draws = noise.normals_f32(sample.len());
    blend(sample, 1.0, &[(factor, &draws)]);
}

/// The last few outputs, newest first.
#[derive(Debug)]
pub(super) struct History {
    outputs: std::collections::VecDeque<Vec<f32>>,
    most: usize,
}

impl History {
    pub(super) fn new(most: usize) -> Self {
        Self { outputs: std::collections::VecDeque::with_capacity(most), most }
    }

    pub(super) fn push(&mut self, output: Vec<f32>) {
        self.outputs.truncate(self.most.saturating_sub(1));
        self.outputs.push_front(output);
    }

    pub(super) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// The output so many calls ago; 0 is the newest.
    pub(super) fn ago(&self, back: usize) -> &[f32] {
        &self.outputs[back]
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
