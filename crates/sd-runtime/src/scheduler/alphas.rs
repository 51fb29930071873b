//! Schedulers that count in ᾱ at whole time steps (DDIM, DDPM, PNDM, LCM, TCD): a sample is √ᾱ times the clean sample plus
//! √(1 − ᾱ) times noise.

use super::config::{PredictionType, SchedulerConfig};
use super::schedule::alphas_cumprod;
use super::walk::{Course, StepGuard, mix};
use crate::error::{Result, RuntimeError};

/// ᾱ of a model, at its time steps and beyond the last.
#[derive(Debug)]
pub(super) struct Alphas {
    table: Vec<f32>,
    last: f32,
}

impl Alphas {
    /// Those of a configuration; beyond the last step ᾱ is 1 or that of the first training step.
    pub(super) fn of(config: &SchedulerConfig, set_alpha_to_one: bool) -> Self {
        let table = alphas_cumprod(config);
        let last = if set_alpha_to_one { 1.0 } else { table[0] };
        Self { table, last }
    }

    /// ᾱ at a time step; beyond the last for a negative one.
    pub(super) fn at(&self, timestep: i64) -> f32 {
        // Rounded spacings never reach beyond the last training step; the bound is for the index alone.
        usize::try_from(timestep).map_or(self.last, |t| self.table[t.min(self.table.len() - 1)])
    }
}

/// A walk of whole time steps.
#[derive(Debug)]
pub(super) struct AlphaWalk {
    pub(super) timesteps: Vec<f32>,
    pub(super) alphas: Alphas,
    guard: StepGuard,
}

impl AlphaWalk {
    /// A walk of these time steps, some of the first left out.
    pub(super) fn new(steps: impl IntoIterator<Item = i64>, start: usize, alphas: Alphas) -> Self {
        let timesteps = steps.into_iter().skip(start).map(|t| t as f32).collect();
        Self { timesteps, alphas, guard: StepGuard::default() }
    }

    /// Checks that a call is due.
    pub(super) fn admit(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<()> {
        self.guard.admit(self.timesteps.len(), index, output, sample)
    }
}

impl Course for AlphaWalk {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32]) {
        match self.timesteps.get(index) {
            Some(&timestep) => {
                let alpha = self.alphas.at(timestep as i64);
                mix(alpha.sqrt(), clean, (1.0 - alpha).sqrt(), noise);
            }
            None => noise.copy_from_slice(clean),
        }
    }
}

/// The clean sample and the noise that an output means at ᾱ.
pub(super) fn parts(prediction: PredictionType, alpha: f32, output: &[f32], sample: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
    let part = |(&x, &out): (&f32, &f32)| match prediction {
        // No table of keys lets flow matching through.
        PredictionType::Epsilon | PredictionType::Flow => ((x - noise * out) / signal, out),
        PredictionType::Sample => (out, (x - signal * out) / noise),
        PredictionType::VPrediction => (signal * x - noise * out, signal * out + noise * x),
    };
    sample.iter().zip(output).map(part).unzip()
}

/// Time steps that were given, as whole numbers.
///
/// # Errors
/// [`RuntimeError::Options`] for a fraction.
pub(super) fn whole(given: &[f64]) -> Result<Vec<i64>> {
    match given.iter().find(|t| t.fract() != 0.0) {
        Some(t) => Err(RuntimeError::Options(format!("time step {t} is no whole number"))),
        None => Ok(given.iter().map(|&t| t as i64).collect()),
    }
}
