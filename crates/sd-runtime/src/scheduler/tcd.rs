//! Trajectory consistency distillation (arXiv 2402.19159), equal to diffusers' `TCDScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::alphas::{AlphaWalk, Alphas, parts};
use super::config::{PredictionType, SchedulerConfig};
use super::distilled;
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Take, WalkOptions};
use super::walk::{Course, Scheduler, add_draws, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Tcd,
    class: "TCDScheduler",
    name: "tcd",
    aliases: &[],
    label: "TCD",
    summary: "Trajectory consistency: few steps, for models distilled for it",
    near: &[],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "scaled_linear")),
    takes: &[Take::Timesteps, Take::Strength, Take::Eta],
    keys: &keys::TCD,
    words: &[],
    check: |config| config.own::<Keys>().map(drop),
    build: |config, options| Ok(Box::new(Tcd::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    original_inference_steps: usize,
    set_alpha_to_one: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { original_inference_steps: distilled::STEPS, set_alpha_to_one: true }
    }
}

/// How random a walk is unless the options say otherwise.
const ETA: f64 = 0.3;

/// A TCD walk.
#[derive(Debug)]
struct Tcd {
    walk: AlphaWalk,
    prediction: PredictionType,
    eta: f64,
}

impl Tcd {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let steps = distilled::timesteps(config, options, keys.original_inference_steps)?;
        Ok(Self {
            walk: AlphaWalk::new(steps, options.start, Alphas::of(config, keys.set_alpha_to_one)),
            prediction: config.prediction_type,
            eta: options.eta.unwrap_or(ETA),
        })
    }
}

impl Scheduler for Tcd {
    fn course(&self) -> &dyn Course {
        &self.walk
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        self.walk.admit(step_index, model_output, sample)?;
        let next = self.walk.timesteps.get(step_index + 1).copied();
        // The step to which the model's trajectory is followed, in torch's f32.
        let target = ((1.0 - self.eta) as f32 * next.unwrap_or(0.0)).floor() as i64;
        let now = self.walk.alphas.at(self.walk.timesteps[step_index] as i64);
        let (clean, eps) = parts(self.prediction, now, model_output, sample);
        let there = self.walk.alphas.at(target);
        blend(sample, 0.0, &[(f64::from(there.sqrt()), &clean), (f64::from((1.0 - there).sqrt()), &eps)]);
        if let Some(next) = next.filter(|_| self.eta > 0.0) {
            let share = f64::from(self.walk.alphas.at(next as i64)) / f64::from(there);
            blend(sample, share.sqrt(), &[]);
            add_draws(sample, (1.0 - share).max(0.0).sqrt(), noise);
        }
        Ok(())
    }
}
