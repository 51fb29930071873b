//! Heun's method: Euler's step, then the mean of the slopes at its two ends; equal to diffusers' `HeunDiscreteScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::HeunDiscrete,
    class: "HeunDiscreteScheduler",
    name: "heun",
    aliases: &["k-heun"],
    label: "Heun",
    summary: "Heun's method, two evaluations for each step",
    near: &[],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "linear")),
    takes: &[Take::Timesteps],
    keys: &keys::HEUN_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(Heun::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    clip_sample: bool,
    clip_sample_range: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { clip_sample: false, clip_sample_range: 1.0 }
    }
}

/// A walk by Heun's method.
#[derive(Debug)]
struct Heun {
    climb: Climb,
    rectify: Rectify,
    /// The sample and its slope at the step's beginning, between its two calls.
    begun: Option<(Vec<f32>, Vec<f32>)>,
}

impl Heun {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let ladder = Ladder::of(config, options, Whole::Fractional)?;
        let climb =
            ladder.double(config, options.start, |ladder, step| (ladder.timesteps[step + 1], ladder.sigmas[step + 1]));
        let rectify = Rectify::of(config, keys.clip_sample.then_some(keys.clip_sample_range))?;
        Ok(Self { climb, rectify, begun: None })
    }
}

impl Scheduler for Heun {
    fn course(&self) -> &dyn Course {
        &self.climb
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let call = self.climb.admit_double(step_index, model_output, sample)?;
        let mut clean = self.climb.clean(call.at, model_output, sample);
        self.rectify.apply(&mut clean);
        let sigma = call.at as f32;
        let slope: Vec<f32> = sample.iter().zip(clean).map(|(&x, clean)| (x - clean) / sigma).collect();
        let dt = (call.to - call.from) as f32;
        match self.begun.take().filter(|_| call.is_second) {
            Some((first, first_slope)) => {
                for (((x, first), a), b) in sample.iter_mut().zip(first).zip(first_slope).zip(slope) {
                    *x = first + (a + b) / 2.0 * dt;
                }
            }
            None => {
                let first = sample.to_vec();
                sample.iter_mut().zip(&slope).for_each(|(x, slope)| *x += slope * dt);
                self.begun = Some((first, slope));
            }
        }
        Ok(())
    }
}
