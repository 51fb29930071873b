//! Euler's method on the probability-flow ODE, equal to diffusers' `EulerDiscreteScheduler` without churn.

use sd_spec::keys;

use super::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use super::entry::{Entry, SchedulerKind};
use super::schedule::{self, SigmaKeys, SigmaSpacing, TrainingSigmas, leading, linspace, trailing};
use super::walk::{Scheduler, StepGuard, mix};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::EulerDiscrete,
    class: "EulerDiscreteScheduler",
    name: "euler",
    aliases: &[],
    summary: "Euler's method",
    near: &["EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"],
    keys: &keys::EULER_DISCRETE,
    words: &[],
    refuses: |_| None,
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, n_steps, start| Ok(Box::new(Euler::new(config, n_steps, start)?)),
};

/// An Euler walk.
#[derive(Debug)]
struct Euler {
    timesteps: Vec<f32>,
    /// One more than time steps; the last is the end.
    sigmas: Vec<f32>,
    /// Standard deviation of a first sample of noise alone.
    init_noise_sigma: f32,
    prediction: PredictionType,
    guard: StepGuard,
}

impl Euler {
    fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let keys = SigmaKeys::of(config)?;
        let training = TrainingSigmas::new(config);
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        let mut timesteps = timesteps(config, spacing, n_steps);
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| training.at(t)).collect();
        let largest = keys.sigma_max.unwrap_or(sigmas[0]);
        let smallest = keys.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
        match keys.spacing() {
            SigmaSpacing::AtTimesteps => {}
            SigmaSpacing::Karras => sigmas = schedule::karras(largest, smallest, n_steps),
            SigmaSpacing::Exponential => sigmas = schedule::exponential(largest, smallest, n_steps),
        }
        if keys.spacing() != SigmaSpacing::AtTimesteps {
            timesteps = sigmas.iter().map(|&s| training.timestep_of(s)).collect();
        }
        let sigmas = training.finish(sigmas, keys.final_sigmas_type);
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

    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]) {
        match clean {
            Some(_) => mix(1.0, clean, self.sigmas[0], noise),
            None => noise.iter_mut().for_each(|x| *x *= self.init_noise_sigma),
        }
    }

    fn scale_model_input(&self, step_index: usize, sample: &mut [f32]) {
        let sigma = self.sigmas[step_index];
        let scale = (sigma * sigma + 1.0).sqrt();
        for x in sample {
            *x /= scale;
        }
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
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
