//! Latent consistency models (arXiv 2310.04378): few steps, each to a clean sample and back under noise; equal to diffusers'
//! `LCMScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::alphas::{AlphaWalk, Alphas, parts};
use super::config::{PredictionType, SchedulerConfig};
use super::distilled;
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::walk::{Course, Scheduler, add_draws, blend};
use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Lcm,
    class: "LCMScheduler",
    name: "lcm",
    aliases: &[],
    label: "LCM",
    summary: "Latent consistency: few steps, for models distilled for it",
    near: &["CMStochasticIterative"],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "scaled_linear")),
    takes: &[Take::Timesteps, Take::OriginalSteps, Take::Strength],
    keys: &keys::LCM,
    words: &[],
    check: |config| config.own::<Keys>().map(drop),
    build: |config, options| Ok(Box::new(Lcm::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    original_inference_steps: usize,
    clip_sample: bool,
    clip_sample_range: f64,
    set_alpha_to_one: bool,
    timestep_scaling: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            original_inference_steps: distilled::STEPS,
            clip_sample: false,
            clip_sample_range: 1.0,
            set_alpha_to_one: true,
            timestep_scaling: 10.0,
        }
    }
}

/// Spread of the data, in the boundary conditions of consistency models.
const SIGMA_DATA: f64 = 0.5;

/// An LCM walk.
#[derive(Debug)]
struct Lcm {
    walk: AlphaWalk,
    prediction: PredictionType,
    rectify: Rectify,
    scaling: f64,
}

impl Lcm {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        if !keys.timestep_scaling.is_finite() {
            return Err(RuntimeError::SchedulerConfig("timestep_scaling is no number".into()));
        }
        let steps = distilled::timesteps(config, options, keys.original_inference_steps)?;
        Ok(Self {
            walk: AlphaWalk::new(steps, options.start, Alphas::of(config, keys.set_alpha_to_one)),
            prediction: config.prediction_type,
            rectify: Rectify::of(config, keys.clip_sample.then_some(keys.clip_sample_range))?,
            scaling: keys.timestep_scaling,
        })
    }
}

impl Scheduler for Lcm {
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
        let timestep = self.walk.timesteps[step_index];
        let (mut clean, _) = parts(self.prediction, self.walk.alphas.at(timestep as i64), model_output, sample);
        self.rectify.apply(&mut clean);
        let scaled = f64::from(timestep) * self.scaling;
        let sum = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        blend(sample, SIGMA_DATA * SIGMA_DATA / sum, &[(scaled / sum.sqrt(), &clean)]);
        if let Some(&next) = self.walk.timesteps.get(step_index + 1) {
            let next = self.walk.alphas.at(next as i64);
            blend(sample, f64::from(next.sqrt()), &[]);
            add_draws(sample, f64::from((1.0 - next).sqrt()), noise);
        }
        Ok(())
    }
}
