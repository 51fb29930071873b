//! DDIM (arXiv 2010.02502), equal to diffusers' `DDIMScheduler`, with or without noise between steps.

use sd_spec::keys;
use serde::Deserialize;

use super::alphas::{AlphaWalk, Alphas, parts};
use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::schedule::whole_timesteps;
use super::walk::{Course, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Ddim,
    class: "DDIMScheduler",
    name: "ddim",
    aliases: &[],
    label: "DDIM",
    summary: "Denoising diffusion implicit models",
    near: &["DDIMParallel", "DDIMInverse", "RePaint"],
    family: Family::Betas,
    betas: None,
    takes: &[Take::Eta, Take::ClippedOutput],
    keys: &keys::DDIM,
    words: &[],
    check: |config| config.own::<Keys>().map(drop),
    build: |config, options| Ok(Box::new(Ddim::new(config, options)?)),
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

/// A DDIM walk.
#[derive(Debug)]
struct Ddim {
    walk: AlphaWalk,
    /// Training steps from one step to the next.
    ratio: i64,
    prediction: PredictionType,
    rectify: Rectify,
    eta: f64,
    use_clipped_model_output: bool,
}

impl Ddim {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let steps = whole_timesteps(config, options.steps)?;
        Ok(Self {
            walk: AlphaWalk::new(steps, options.start, Alphas::of(config, keys.set_alpha_to_one)),
            ratio: (config.num_train_timesteps / options.steps) as i64,
            prediction: config.prediction_type,
            rectify: Rectify::of(config, keys.clip_sample.then_some(keys.clip_sample_range))?,
            eta: options.eta.unwrap_or(0.0),
            use_clipped_model_output: options.use_clipped_model_output,
        })
    }
}

/// The variance that DDPM's step between two ᾱ has.
fn variance(now: f32, next: f32) -> f32 {
    (1.0 - next) / (1.0 - now) * (1.0 - now / next)
}

impl Scheduler for Ddim {
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
        let timestep = self.walk.timesteps[step_index] as i64;
        // The step before by the ratio, which is not always the next of the list.
        let (now, next) = (self.walk.alphas.at(timestep), self.walk.alphas.at(timestep - self.ratio));
        let (mut clean, mut eps) = parts(self.prediction, now, model_output, sample);
        self.rectify.apply(&mut clean);
        if self.use_clipped_model_output {
            eps = parts(PredictionType::Sample, now, &clean, sample).1;
        }
        let deviation = if self.eta > 0.0 { self.eta as f32 * variance(now, next).max(0.0).sqrt() } else { 0.0 };
        let (signal, level) = (next.sqrt(), (1.0 - next - deviation * deviation).max(0.0).sqrt());
        for ((x, clean), eps) in sample.iter_mut().zip(clean).zip(eps) {
            *x = signal * clean + level * eps;
        }
        if self.eta > 0.0 {
            add_draws(sample, f64::from(deviation), noise);
        }
        Ok(())
    }
}
