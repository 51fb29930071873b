//! DDIM (arXiv 2010.02502) without noise between steps (eta 0), equal to diffusers' `DDIMScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, SchedulerKind};
use super::schedule::{alphas_cumprod, whole_timesteps};
use super::walk::{Scheduler, StepGuard, mix};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Ddim,
    class: "DDIMScheduler",
    name: "ddim",
    aliases: &[],
    summary: "Denoising diffusion implicit models",
    near: &["DDPM", "DDPMParallel", "DDIMParallel", "DDIMInverse"],
    keys: &keys::DDIM,
    words: &[],
    refuses: |_| None,
    check: |config| config.own::<Keys>().map(drop),
    build: |config, n_steps, start| Ok(Box::new(Ddim::new(config, n_steps, start)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    /// Whether the step after the last has ᾱ = 1, and not ᾱ₀.
    set_alpha_to_one: bool,
    /// Whether the predicted clean sample is clipped.
    clip_sample: bool,
    /// Where.
    clip_sample_range: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { set_alpha_to_one: true, clip_sample: true, clip_sample_range: 1.0 }
    }
}

/// ᾱ at a step and at the one that follows it.
#[derive(Debug, Clone, Copy)]
struct Alphas {
    now: f32,
    next: f32,
}

/// A DDIM walk.
#[derive(Debug)]
struct Ddim {
    timesteps: Vec<f32>,
    alphas: Vec<Alphas>,
    prediction: PredictionType,
    clip: Option<f32>,
    guard: StepGuard,
}

impl Ddim {
    fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let keys: Keys = config.own()?;
        let steps: Vec<i64> = whole_timesteps(config, n_steps)?.into_iter().skip(start).collect();
        let table = alphas_cumprod(config);
        let last = if keys.set_alpha_to_one { 1.0 } else { table[0] };
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
            clip: keys.clip_sample.then_some(keys.clip_sample_range as f32),
            guard: StepGuard::default(),
        })
    }
}

impl Scheduler for Ddim {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]) {
        let Alphas { now, .. } = self.alphas[0];
        mix(now.sqrt(), clean, (1.0 - now).sqrt(), noise);
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
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
