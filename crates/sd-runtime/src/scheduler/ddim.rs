//! DDIM (arXiv 2010.02502) without noise between steps (eta 0), equal to diffusers' `DDIMScheduler`.

use super::config::{PredictionType, SchedulerConfig};
use super::{Scheduler, StepGuard, mix, noise, spacing};
use crate::error::Result;

/// ᾱ at a step and at the one that follows it.
#[derive(Debug, Clone, Copy)]
struct Alphas {
    now: f32,
    next: f32,
}

/// A DDIM walk.
#[derive(Debug)]
pub(super) struct Ddim {
    timesteps: Vec<f32>,
    alphas: Vec<Alphas>,
    prediction: PredictionType,
    clip: Option<f32>,
    guard: StepGuard,
}

impl Ddim {
    pub(super) fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let steps: Vec<i64> = spacing::whole_timesteps(config, n_steps)?.into_iter().skip(start).collect();
        let table = noise::alphas_cumprod(config);
        let last = if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { table[0] };
        let ratio = (config.num_train_timesteps / n_steps) as i64;
        let alphas = steps
            .iter()
            .map(|&t| Alphas {
                now: table[t as usize],
                next: usize::try_from(t - ratio).map_or(last, |next| table[next]),
            })
            .collect();
        Ok(Self {
            timesteps: steps.iter().map(|&t| t as f32).collect(),
            alphas,
            prediction: config.prediction_type,
            clip: config.clip_sample.unwrap_or(true).then_some(config.clip_sample_range as f32),
            guard: StepGuard::default(),
        })
    }
}

impl Scheduler for Ddim {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &[f32], noise: &mut [f32]) {
        let Alphas { now, .. } = self.alphas[0];
        mix(now.sqrt(), clean, (1.0 - now).sqrt(), noise);
    }

    fn step(&mut self, step_index: usize, model_output: &[f32], sample: &mut [f32]) -> Result<()> {
        self.guard.admit(self.timesteps.len(), step_index, model_output, sample)?;
        let Alphas { now, next } = self.alphas[step_index];
        let (signal, noise) = (now.sqrt(), (1.0 - now).sqrt());
        let (next_signal, next_noise) = (next.sqrt(), (1.0 - next).sqrt());
        for (x, &out) in sample.iter_mut().zip(model_output) {
            let (clean, eps) = match self.prediction {
                PredictionType::Epsilon => ((*x - noise * out) / signal, out),
                PredictionType::Sample => (out, (*x - signal * out) / noise),
                PredictionType::VPrediction => (signal * *x - noise * out, signal * out + noise * *x),
            };
            let clean = self.clip.map_or(clean, |limit| clean.clamp(-limit, limit));
            *x = next_signal * clean + next_noise * eps;
        }
        Ok(())
    }
}
