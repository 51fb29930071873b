//! DPM2 with noise added after each step, equal to diffusers' `KDPM2AncestralDiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, ancestral, half_way_down};
use super::options::WalkOptions;
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler, add_draws, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Kdpm2AncestralDiscrete,
    class: "KDPM2AncestralDiscreteScheduler",
    name: "dpm2-a",
    aliases: &["dpm2-ancestral", "k-dpm-2-a", "k-dpm-2-ancestral"],
    label: "DPM2 a",
    summary: "DPM2 with noise added after each step, two evaluations for each",
    near: &[],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "linear")),
    takes: &[],
    keys: &keys::KDPM2_ANCESTRAL_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(Kdpm2Ancestral::new(config, options)?)),
};

/// An ancestral DPM2 walk.
#[derive(Debug)]
struct Kdpm2Ancestral {
    climb: Climb,
    /// The sample at the step's beginning, between its two calls.
    begun: Option<Vec<f32>>,
}

impl Kdpm2Ancestral {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let climb = Ladder::of(config, options, Whole::RoundedKarras)?.halved(config, options.start, half_way_down);
        Ok(Self { climb, begun: None })
    }
}

impl Scheduler for Kdpm2Ancestral {
    fn course(&self) -> &dyn Course {
        &self.climb
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        let call = self.climb.admit_double(step_index, model_output, sample)?;
        let slope = self.climb.slope(call.at, model_output, sample);
        let (up, down) = ancestral(call.from, call.to);
        match self.begun.take().filter(|_| call.is_second) {
            Some(first) => {
                sample.copy_from_slice(&first);
                blend(sample, 1.0, &[(down - call.from, &slope)]);
                add_draws(sample, up, noise);
            }
            None => {
                self.begun = Some(sample.to_vec());
                blend(sample, 1.0, &[(f64::from(half_way_down(call.from, call.to)) - call.from, &slope)]);
            }
        }
        Ok(())
    }
}
