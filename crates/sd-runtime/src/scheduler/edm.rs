//! Models of Karras et al. (arXiv 2206.00364): a sample is the clean sample plus sigma times noise, inputs and outputs are
//! preconditioned, and a time step is ln(σ)/4.

use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::options::WalkOptions;
use super::schedule::{FinalSigma, torch_linspace};
use super::spread::karras_with;
use super::walk::{Course, StepGuard, mix};
use crate::error::{Result, RuntimeError};

/// Keys of EDM's schedulers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    sigma_min: f64,
    sigma_max: f64,
    sigma_data: f64,
    sigma_schedule: SigmaSchedule,
    rho: f64,
    final_sigmas_type: FinalSigma,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SigmaSchedule {
    Karras,
    Exponential,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            sigma_min: 0.002,
            sigma_max: 80.0,
            sigma_data: 0.5,
            sigma_schedule: SigmaSchedule::Karras,
            rho: 7.0,
            final_sigmas_type: FinalSigma::Zero,
        }
    }
}

impl Keys {
    /// Those of a file.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type, [`RuntimeError::SchedulerConfig`] for one that is not positive.
    fn of(config: &SchedulerConfig) -> Result<Self> {
        let keys: Self = config.own()?;
        let positive = [
            ("sigma_min", keys.sigma_min),
            ("sigma_max", keys.sigma_max),
            ("sigma_data", keys.sigma_data),
            ("rho", keys.rho),
        ];
        match positive.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
            Some((key, value)) => Err(RuntimeError::SchedulerConfig(format!("{key} {value} is not positive"))),
            None => Ok(keys),
        }
    }
}

/// A walk of such a model.
#[derive(Debug)]
pub(super) struct EdmWalk {
    timesteps: Vec<f32>,
    /// Sigmas of the whole walk, and its end.
    sigmas: Vec<f32>,
    skipped: usize,
    sigma_data: f32,
    init_noise_sigma: f32,
    prediction: PredictionType,
    guard: StepGuard,
}

impl EdmWalk {
    pub(super) fn of(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys = Keys::of(config)?;
        let n = options.steps;
        let mut sigmas: Vec<f32> = match keys.sigma_schedule {
            SigmaSchedule::Karras => {
                karras_with(keys.rho, keys.sigma_max, keys.sigma_min, n).into_iter().map(|s| s as f32).collect()
            }
            SigmaSchedule::Exponential => {
                // Counted from the smallest, so that a single step is there.
                let rising = torch_linspace(keys.sigma_min.ln(), keys.sigma_max.ln(), n);
                rising.into_iter().rev().map(f32::exp).collect()
            }
        };
        let timesteps = sigmas.iter().skip(options.start).map(|s| 0.25 * s.ln()).collect();
        sigmas.push(match keys.final_sigmas_type {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => sigmas[n - 1],
        });
        Ok(Self {
            timesteps,
            sigmas,
            skipped: options.start,
            sigma_data: keys.sigma_data as f32,
            init_noise_sigma: (keys.sigma_max * keys.sigma_max + 1.0).sqrt() as f32,
            prediction: config.prediction_type,
            guard: StepGuard::default(),
        })
    }

    /// Steps of the whole walk.
    pub(super) fn len(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Sigma of a step of the whole walk.
    pub(super) fn sigma(&self, step: usize) -> f32 {
        self.sigmas[step]
    }

    /// Checks that a step is due, and gives its number in the whole walk.
    pub(super) fn admit(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<usize> {
        self.guard.admit(self.timesteps.len(), index, output, sample)?;
        Ok(index + self.skipped)
    }

    /// The clean sample that an output means for a sample of this sigma.
    pub(super) fn clean(&self, sigma: f32, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let data = self.sigma_data;
        let sum = sigma * sigma + data * data;
        let skip = data * data / sum;
        let out = match self.prediction {
            PredictionType::VPrediction => -sigma * data / sum.sqrt(),
            _ => sigma * data / sum.sqrt(),
        };
        sample.iter().zip(output).map(|(x, output)| skip * x + out * output).collect()
    }
}

impl Course for EdmWalk {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }

    fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32]) {
        let sigma = if index < self.timesteps.len() { self.sigmas[index + self.skipped] } else { 0.0 };
        mix(1.0, clean, sigma, noise);
    }

    fn scale_model_input(&self, index: usize, sample: &mut [f32]) {
        let sigma = self.sigmas[index + self.skipped];
        let scale = 1.0 / (sigma * sigma + self.sigma_data * self.sigma_data).sqrt();
        sample.iter_mut().for_each(|x| *x *= scale);
    }
}
