//! PNDM's pseudo linear multistep part (arXiv 2202.09778), equal to diffusers' `PNDMScheduler` with `skip_prk_steps`.
//!
//! The second step is taken twice: first plainly, then again from the same sample with the mean of two outputs, so n steps ask the model n + 1 times.
//! The Runge-Kutta start of the paper is not implemented; Stable Diffusion never uses it.

use std::collections::VecDeque;

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, SchedulerKind, Words};
use super::schedule::{alphas_cumprod, whole_timesteps};
use super::walk::{Scheduler, StepGuard, mix};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Pndm,
    class: "PNDMScheduler",
    name: "pndm",
    aliases: &[],
    summary: "Pseudo linear multistep, the default of Stable Diffusion 1.x",
    near: &[],
    keys: &keys::PNDM,
    words: &[Words {
        key: "skip_prk_steps",
        meaning: "Runge-Kutta steps, ",
        instead: "the Runge-Kutta steps are left out",
        // diffusers 0.42: the class's default is false.
        absent: Some(
            "skip_prk_steps is absent, which to diffusers means Runge-Kutta steps at the beginning; they are left out",
        ),
    }],
    refuses: |config| (config.prediction_type == PredictionType::Sample).then_some(("prediction_type", "\"sample\"")),
    check: |config| config.own::<Keys>().map(drop),
    build: |config, n_steps, start| Ok(Box::new(Pndm::new(config, n_steps, start)?)),
};

/// Keys of its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    /// Whether the step after the last has ᾱ = 1, and not ᾱ₀.
    set_alpha_to_one: bool,
}

/// Coefficients of one transfer from ᾱ to the next.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    now: f32,
    next: f32,
}

/// A PNDM walk.
#[derive(Debug)]
struct Pndm {
    timesteps: Vec<f32>,
    transfers: Vec<Transfer>,
    prediction: PredictionType,
    /// Model outputs of the last steps, newest last, at most four.
    outputs: VecDeque<Vec<f32>>,
    /// The sample before the first step, kept for the second.
    first_sample: Vec<f32>,
    guard: StepGuard,
}

impl Pndm {
    fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let mut steps: Vec<i64> = whole_timesteps(config, n_steps)?.into_iter().skip(start).collect();
        if steps.len() > 1 {
            steps.insert(1, steps[1]);
        }
        let table = alphas_cumprod(config);
        let last = if config.own::<Keys>()?.set_alpha_to_one { 1.0 } else { table[0] };
        let ratio = (config.num_train_timesteps / n_steps) as i64;
        // Rounded spacings never reach beyond the last training step; the bound is for the index alone.
        let alpha = |t: i64| usize::try_from(t).map_or(last, |t| table[t.min(table.len() - 1)]);
        let transfers = steps
            .iter()
            .enumerate()
            .map(|(i, &t)| {
                // The repeated step goes over the ground of the first once more.
                let from = if i == 1 { t + ratio } else { t };
                Transfer { now: alpha(from), next: alpha(from - ratio) }
            })
            .collect();
        Ok(Self {
            timesteps: steps.iter().map(|&t| t as f32).collect(),
            transfers,
            prediction: config.prediction_type,
            outputs: VecDeque::with_capacity(4),
            first_sample: Vec::new(),
            guard: StepGuard::default(),
        })
    }

    /// The linear multistep combination of the outputs so far, and of the new one at the repeated step.
    fn combine(&self, step_index: usize, model_output: &[f32]) -> Vec<f32> {
        let e = |back: usize| &self.outputs[self.outputs.len() - back];
        let each = |f: &dyn Fn(usize) -> f32| -> Vec<f32> { (0..model_output.len()).map(f).collect() };
        match (step_index, self.outputs.len()) {
            (0, _) => model_output.to_vec(),
            (1, _) => {
                let e1 = e(1);
                each(&|i| (model_output[i] + e1[i]) / 2.0)
            }
            (_, 2) => {
                let (e1, e2) = (e(1), e(2));
                each(&|i| (3.0 * e1[i] - e2[i]) / 2.0)
            }
            (_, 3) => {
                let (e1, e2, e3) = (e(1), e(2), e(3));
                each(&|i| (23.0 * e1[i] - 16.0 * e2[i] + 5.0 * e3[i]) / 12.0)
            }
            _ => {
                let (e1, e2, e3, e4) = (e(1), e(2), e(3), e(4));
                each(&|i| (1.0 / 24.0) * (55.0 * e1[i] - 59.0 * e2[i] + 37.0 * e3[i] - 9.0 * e4[i]))
            }
        }
    }

    /// Formula (9) of the paper.
    fn transfer(&self, step_index: usize, output: &[f32], sample: &mut [f32]) {
        let Transfer { now, next } = self.transfers[step_index];
        let (noise_var, next_noise_var) = (1.0 - now, 1.0 - next);
        let (signal, noise) = (now.sqrt(), noise_var.sqrt());
        let sample_scale = (next / now).sqrt();
        let denominator = now * next_noise_var.sqrt() + (now * noise_var * next).sqrt();
        for (x, &out) in sample.iter_mut().zip(output) {
            let eps = match self.prediction {
                PredictionType::VPrediction => signal * out + noise * *x,
                PredictionType::Epsilon | PredictionType::Sample => out,
            };
            *x = sample_scale * *x - (next - now) * eps / denominator;
        }
    }
}

impl Scheduler for Pndm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]) {
        let Transfer { now, .. } = self.transfers[0];
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
        if step_index == 0 {
            self.first_sample = sample.to_vec();
        }
        if step_index == 1 {
            sample.copy_from_slice(&std::mem::take(&mut self.first_sample));
        } else {
            if self.outputs.len() == 4 {
                self.outputs.pop_front();
            }
            self.outputs.push_back(model_output.to_vec());
        }
        let output = self.combine(step_index, model_output);
        self.transfer(step_index, &output, sample);
        Ok(())
    }
}
