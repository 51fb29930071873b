//! Euler's method on the probability-flow ODE, equal to diffusers' `EulerDiscreteScheduler` without churn.

use super::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use super::noise::{self, SigmaSpacing, TrainingSigmas};
use super::spacing::{leading, linspace, trailing};
use super::{Scheduler, StepGuard, mix};
use crate::error::Result;

/// An Euler walk.
#[derive(Debug)]
pub(super) struct Euler {
    timesteps: Vec<f32>,
    /// One more than time steps; the last is the end.
    sigmas: Vec<f32>,
    init_noise_sigma: f32,
    prediction: PredictionType,
    guard: StepGuard,
}

impl Euler {
    pub(super) fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let training = TrainingSigmas::new(config);
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        let mut timesteps = timesteps(config, spacing, n_steps);
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| training.at(t)).collect();
        let largest = config.sigma_max.unwrap_or(sigmas[0]);
        let smallest = config.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
        match SigmaSpacing::of(config) {
            SigmaSpacing::AtTimesteps => {}
            SigmaSpacing::Karras => sigmas = noise::karras(largest, smallest, n_steps),
            SigmaSpacing::Exponential => sigmas = noise::exponential(largest, smallest, n_steps),
        }
        if SigmaSpacing::of(config) != SigmaSpacing::AtTimesteps {
            timesteps = sigmas.iter().map(|&s| training.timestep_of(s)).collect();
        }
        let sigmas = training.finish(sigmas, config.final_sigmas_type);
        let max_sigma = sigmas.iter().copied().fold(0.0, f32::max);
        Ok(Self {
            timesteps: timesteps.into_iter().skip(start).map(|t| t as f32).collect(),
            sigmas: sigmas.into_iter().skip(start).collect(),
            init_noise_sigma: match spacing {
                TimestepSpacing::Leading => (max_sigma * max_sigma + 1.0).sqrt(),
                TimestepSpacing::Linspace | TimestepSpacing::Trailing => max_sigma,
            },
            prediction: config.prediction_type,
            guard: StepGuard::default(),
        })
    }
}

/// Time steps before any choice of sigmas, in f32 precision as diffusers has them.
fn timesteps(config: &SchedulerConfig, spacing: TimestepSpacing, n: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    let whole = |steps: Vec<i64>| steps.into_iter().map(|t| t as f64).collect();
    match spacing {
        TimestepSpacing::Linspace => {
            linspace(0.0, (train - 1) as f64, n).into_iter().rev().map(|t| f64::from(t as f32)).collect()
        }
        TimestepSpacing::Leading => whole(leading(train / n, 0..n, config.steps_offset)),
        TimestepSpacing::Trailing => whole(trailing(train, train, n)),
    }
}

impl Scheduler for Euler {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &[f32], noise: &mut [f32]) {
        mix(1.0, clean, self.sigmas[0], noise);
    }

    fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }

    fn scale_model_input(&self, step_index: usize, sample: &mut [f32]) {
        let sigma = self.sigmas[step_index];
        let scale = (sigma * sigma + 1.0).sqrt();
        for x in sample {
            *x /= scale;
        }
    }

    fn step(&mut self, step_index: usize, model_output: &[f32], sample: &mut [f32]) -> Result<()> {
        self.guard.admit(self.timesteps.len(), step_index, model_output, sample)?;
        let sigma = self.sigmas[step_index];
        let dt = self.sigmas[step_index + 1] - sigma;
        let variance = sigma * sigma + 1.0;
        let v_scale = -sigma / variance.sqrt();
        for (x, &out) in sample.iter_mut().zip(model_output) {
            let clean = match self.prediction {
                PredictionType::Epsilon => *x - sigma * out,
                PredictionType::Sample => out,
                PredictionType::VPrediction => out * v_scale + *x / variance,
            };
            *x += (*x - clean) / sigma * dt;
        }
        Ok(())
    }
}
