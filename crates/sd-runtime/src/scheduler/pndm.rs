//! PNDM (arXiv 2202.09778), equal to diffusers' `PNDMScheduler`: pseudo linear multistep, after three steps of pseudo
//! Runge–Kutta where the configuration has them.
//!
//! Without Runge–Kutta steps the second step is taken twice: first plainly, then again from the same sample with the mean of
//! two outputs, so n steps ask the model n + 1 times.
//! A walk that begins later is, as in diffusers, the rest of the list of calls, of which the second is taken for a repeated one.

use sd_spec::keys;
use serde::Deserialize;

use super::alphas::{AlphaWalk, Alphas};
use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind, Words};
use super::options::WalkOptions;
use super::schedule::whole_timesteps;
use super::walk::{Course, History, Scheduler};
use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Pndm,
    class: "PNDMScheduler",
    name: "pndm",
    aliases: &["plms"],
    label: "PLMS",
    summary: "Pseudo linear multistep, the default of Stable Diffusion 1.x",
    near: &[],
    family: Family::Betas,
    betas: None,
    takes: &[],
    keys: &keys::PNDM,
    words: &[Words {
        key: "skip_prk_steps",
        meaning: "",
        instead: "",
        // diffusers 0.42: the class's default is false.
        absent: Some(
            "skip_prk_steps is absent, which to diffusers means Runge-Kutta steps at the beginning; they are taken",
        ),
    }],
    check: |config| config.own::<Keys>().map(drop),
    build: |config, options| Ok(Box::new(Pndm::new(config, options)?)),
};

/// Keys of its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    /// Whether the step after the last has ᾱ = 1, and not ᾱ₀.
    set_alpha_to_one: bool,
    /// Whether there are no Runge–Kutta steps.
    skip_prk_steps: bool,
}

/// Steps of pseudo Runge–Kutta, and calls of each.
const PRK_STEPS: usize = 3;
const PRK_CALLS: usize = 4;

/// A PNDM walk.
#[derive(Debug)]
struct Pndm {
    walk: AlphaWalk,
    /// Training steps from one step to the next.
    ratio: i64,
    /// Calls of Runge–Kutta steps, by their time steps; empty without them.
    prk: Vec<i64>,
    prediction: PredictionType,
    /// Model outputs of the last steps.
    outputs: History,
    /// The sample before the first step, kept for the second; or before a Runge–Kutta step.
    first_sample: Vec<f32>,
    /// Outputs of a Runge–Kutta step so far, weighted.
    sum: Vec<f32>,
}

impl Pndm {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let n = options.steps;
        let steps = whole_timesteps(config, n)?;
        let ratio = (config.num_train_timesteps / n) as i64;
        let (prk, plms) = match keys.skip_prk_steps {
            true => (Vec::new(), repeated(steps)),
            false if n <= PRK_STEPS => {
                return Err(RuntimeError::Options(format!(
                    "{n} steps asked for, and PNDM begins with {PRK_STEPS} Runge-Kutta steps that need one more; take at \
                     least {}, or set skip_prk_steps",
                    PRK_STEPS + 1
                )));
            }
            false => (runge_kutta(&steps, ratio / 2), steps[PRK_STEPS..].to_vec()),
        };
        let calls = prk.iter().chain(&plms).copied();
        if !prk.is_empty() && options.start > 0 {
            return Err(RuntimeError::Options(
                "Runge-Kutta steps cannot be begun in their midst, as a starting picture needs; set skip_prk_steps"
                    .into(),
            ));
        }
        Ok(Self {
            walk: AlphaWalk::new(calls, options.start, Alphas::of(config, keys.set_alpha_to_one)),
            ratio,
            prk,
            prediction: config.prediction_type,
            outputs: History::new(4),
            first_sample: Vec::new(),
            sum: Vec::new(),
        })
    }

    /// The linear multistep combination of the outputs so far, and of the new one at the repeated step.
    fn combine(&self, step_index: usize, model_output: &[f32]) -> Vec<f32> {
        let e = |back: usize| self.outputs.ago(back - 1);
        let each = |f: &dyn Fn(usize) -> f32| -> Vec<f32> { (0..model_output.len()).map(f).collect() };
        match (step_index, self.outputs.len()) {
            (_, 1) if step_index != 1 => model_output.to_vec(),
            (_, 1) => {
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
    fn transfer(&self, from: i64, to: i64, output: &[f32], sample: &mut [f32]) {
        let (now, next) = (self.walk.alphas.at(from), self.walk.alphas.at(to));
        let (noise_var, next_noise_var) = (1.0 - now, 1.0 - next);
        let (signal, noise) = (now.sqrt(), noise_var.sqrt());
        let sample_scale = (next / now).sqrt();
        let denominator = now * next_noise_var.sqrt() + (now * noise_var * next).sqrt();
        if denominator == 0.0 {
            // Both levels are without noise.
            return;
        }
        for (x, &out) in sample.iter_mut().zip(output) {
            let eps = match self.prediction {
                PredictionType::VPrediction => signal * out + noise * *x,
                PredictionType::Epsilon | PredictionType::Sample | PredictionType::Flow => out,
            };
            *x = sample_scale * *x - (next - now) * eps / denominator;
        }
    }

    /// A call of a Runge–Kutta step.
    fn step_prk(&mut self, call: usize, model_output: &[f32], sample: &mut [f32]) {
        let weight = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0][call % PRK_CALLS];
        if call.is_multiple_of(PRK_CALLS) {
            self.sum = vec![0.0; sample.len()];
            self.outputs.push(model_output.to_vec());
            self.first_sample = sample.to_vec();
        }
        self.sum.iter_mut().zip(model_output).for_each(|(sum, out)| *sum += weight * out);
        let half = if call % 2 == 1 { 0 } else { self.ratio / 2 };
        let (from, to) = (self.prk[call / PRK_CALLS * PRK_CALLS], self.prk[call] - half);
        let is_last = call % PRK_CALLS == PRK_CALLS - 1;
        let output = if is_last { std::mem::take(&mut self.sum) } else { model_output.to_vec() };
        sample.copy_from_slice(&self.first_sample);
        self.transfer(from, to, &output, sample);
    }
}

/// The list of calls without Runge–Kutta steps: the second step twice.
fn repeated(mut steps: Vec<i64>) -> Vec<i64> {
    if steps.len() > 1 {
        steps.insert(1, steps[1]);
    }
    steps
}

/// Calls of the first three steps: at each beginning, twice half way, and at each end.
fn runge_kutta(steps: &[i64], half: i64) -> Vec<i64> {
    steps
        .windows(2)
        .take(PRK_STEPS)
        // Half way is counted from the end of the step.
        .flat_map(|pair| [pair[0], pair[1] + half, pair[1] + half, pair[1]])
        .collect()
}

impl Scheduler for Pndm {
    fn course(&self) -> &dyn Course {
        &self.walk
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        self.walk.admit(step_index, model_output, sample)?;
        if step_index < self.prk.len() {
            self.step_prk(step_index, model_output, sample);
            return Ok(());
        }
        let timestep = self.walk.timesteps[step_index] as i64;
        // The repeated step goes over the ground of the first once more.
        let is_repeated = self.prk.is_empty() && step_index == 1;
        let from = if is_repeated { timestep + self.ratio } else { timestep };
        if step_index == 0 {
            self.first_sample = sample.to_vec();
        }
        if is_repeated {
            sample.copy_from_slice(&std::mem::take(&mut self.first_sample));
        } else {
            self.outputs.push(model_output.to_vec());
        }
        let output = self.combine(step_index, model_output);
        self.transfer(from, from - self.ratio, &output, sample);
        Ok(())
    }
}
