//! DDPM's ancestral sampling (arXiv 2006.11239), equal to diffusers' `DDPMScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::alphas::{AlphaWalk, Alphas, parts, whole};
use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::schedule::whole_timesteps;
use super::walk::{Course, Scheduler, blend};
use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Ddpm,
    class: "DDPMScheduler",
    name: "ddpm",
    aliases: &[],
    label: "DDPM",
    summary: "Denoising diffusion probabilistic models: noise in every step, for many steps",
    near: &["DDPMParallel"],
    family: Family::Betas,
    betas: None,
    takes: &[Take::Timesteps],
    keys: &keys::DDPM,
    words: &[],
    check: |config| config.own::<Keys>().map(drop),
    build: |config, options| Ok(Box::new(Ddpm::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    clip_sample: bool,
    clip_sample_range: f64,
    variance_type: Variance,
}

impl Default for Keys {
    fn default() -> Self {
        Self { clip_sample: true, clip_sample_range: 1.0, variance_type: Variance::FixedSmall }
    }
}

/// How much noise a step adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Variance {
    FixedSmall,
    FixedSmallLog,
    FixedLarge,
    FixedLargeLog,
    /// The model gives it, in as many values behind the others.
    Learned,
    /// The model gives where it lies between the small and the large, in the logarithm, from −1 to 1.
    LearnedRange,
}

/// A DDPM walk.
#[derive(Debug)]
struct Ddpm {
    walk: AlphaWalk,
    prediction: PredictionType,
    rectify: Rectify,
    variance: Variance,
}

impl Ddpm {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let steps = match &options.timesteps {
            Some(given) => whole(given)?,
            None => whole_timesteps(config, options.steps)?,
        };
        let ddpm = Self {
            walk: AlphaWalk::new(steps, options.start, Alphas::of(config, true)),
            prediction: config.prediction_type,
            rectify: Rectify::of(config, keys.clip_sample.then_some(keys.clip_sample_range))?,
            variance: keys.variance_type,
        };
        // diffusers takes the square root of a logarithm, which is negative; only a walk that never draws is spared.
        if ddpm.variance == Variance::FixedLargeLog && ddpm.walk.timesteps.iter().any(|t| *t > 0.0) {
            return Err(RuntimeError::SchedulerUnsupported {
                scheduler: ENTRY.class,
                option: "variance_type \"fixed_large_log\"".to_owned(),
                next: "its noise would be the square root of a logarithm; \"fixed_large\" is what it means".to_owned(),
            });
        }
        Ok(ddpm)
    }

    /// Standard deviation of the noise of a value of the sample.
    fn deviation(&self, small: f64, large: f64, predicted: Option<f32>) -> f64 {
        match (self.variance, predicted) {
            (Variance::FixedLarge | Variance::FixedLargeLog, _) => large.sqrt(),
            (Variance::Learned, Some(predicted)) => f64::from(predicted).sqrt(),
            (Variance::LearnedRange, Some(predicted)) => {
                let share = (f64::from(predicted) + 1.0) / 2.0;
                (0.5 * (share * large.ln() + (1.0 - share) * small.ln())).exp()
            }
            _ => small.sqrt(),
        }
    }
}

impl Scheduler for Ddpm {
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
        let is_learned = matches!(self.variance, Variance::Learned | Variance::LearnedRange);
        if is_learned && model_output.len() != 2 * sample.len() {
            return Err(RuntimeError::StepLength { output: model_output.len(), sample: 2 * sample.len() });
        }
        let (output, predicted) = model_output.split_at(if is_learned { sample.len() } else { model_output.len() });
        self.walk.admit(step_index, output, sample)?;
        let timestep = self.walk.timesteps[step_index] as i64;
        let next = self.walk.timesteps.get(step_index + 1).map_or(-1, |t| *t as i64);
        let (now, next) = (self.walk.alphas.at(timestep), self.walk.alphas.at(next));
        let (mut clean, _) = parts(self.prediction, now, output, sample);
        self.rectify.apply(&mut clean);
        let (alpha, beta) = (now / next, 1.0 - now / next);
        let of_clean = next.sqrt() * beta / (1.0 - now);
        let of_sample = alpha.sqrt() * (1.0 - next) / (1.0 - now);
        blend(sample, f64::from(of_sample), &[(f64::from(of_clean), &clean)]);
        if timestep > 0 {
            let small = f64::from((1.0 - next) / (1.0 - now) * beta).max(1e-20);
            let draws = noise.normals_f32(sample.len());
            for (i, (x, draw)) in sample.iter_mut().zip(draws).enumerate() {
                *x += self.deviation(small, beta.into(), predicted.get(i).copied()) as f32 * draw;
            }
        }
        Ok(())
    }
}
