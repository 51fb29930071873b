//! DPM2: the slope at a sigma half way decides the step; equal to diffusers' `KDPM2DiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, half_way};
use super::options::WalkOptions;
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Kdpm2Discrete,
    class: "KDPM2DiscreteScheduler",
    name: "dpm2",
    aliases: &["k-dpm-2"],
    label: "DPM2",
    summary: "DPM-Solver-2 by Karras et al., two evaluations for each step",
    near: &[],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "linear")),
    takes: &[],
    keys: &keys::KDPM2_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(Kdpm2::new(config, options)?)),
};

/// A DPM2 walk.
#[derive(Debug)]
struct Kdpm2 {
    climb: Climb,
    /// The sample at the step's beginning, between its two calls.
    begun: Option<Vec<f32>>,
}

impl Kdpm2 {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let climb = Ladder::of(config, options, Whole::RoundedKarras)?.halved(config, options.start, half_way);
        Ok(Self { climb, begun: None })
    }
}

impl Scheduler for Kdpm2 {
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
        let slope = self.climb.slope(call.at, model_output, sample);
        match self.begun.take().filter(|_| call.is_second) {
            Some(first) => {
                sample.copy_from_slice(&first);
                blend(sample, 1.0, &[(call.to - call.from, &slope)]);
            }
            None => {
                self.begun = Some(sample.to_vec());
                blend(sample, 1.0, &[(f64::from(half_way(call.from, call.to)) - call.from, &slope)]);
            }
        }
        Ok(())
    }
}
