//! DPM2: the slope at a sigma half way decides the step; equal to diffusers' `KDPM2DiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, climb_methods, half_way};
use super::options::WalkOptions;
use super::schedule::SigmaKeys;
use super::walk::{Scheduler, blend};
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
        let ladder = Ladder::of(config, options, Whole::RoundedKarras)?;
        let climb = ladder.double(config, options.start, |ladder, step| {
            let middle = half_way(ladder.sigmas[step].into(), ladder.sigmas[step + 1].into());
            (ladder.training.timestep_of(middle.into()), middle)
        });
        Ok(Self { climb, begun: None })
    }
}

impl Scheduler for Kdpm2 {
    climb_methods!();

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let call = self.climb.admit_double(step_index, model_output, sample)?;
        let mut slope = self.climb.clean(call.at, model_output, sample);
        let sigma = call.at as f32;
        slope.iter_mut().zip(&*sample).for_each(|(clean, &x)| *clean = (x - *clean) / sigma);
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
