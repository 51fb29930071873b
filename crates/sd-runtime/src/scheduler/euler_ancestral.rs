//! Euler's method with noise added after each step, equal to diffusers' `EulerAncestralDiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, ancestral};
use super::options::WalkOptions;
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::EulerAncestralDiscrete,
    class: "EulerAncestralDiscreteScheduler",
    name: "euler-a",
    aliases: &["euler-ancestral", "k-euler-a", "k-euler-ancestral"],
    label: "Euler a",
    summary: "Euler's method with noise added after each step",
    near: &[],
    family: Family::Betas,
    betas: None,
    takes: &[],
    keys: &keys::EULER_ANCESTRAL_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(EulerAncestral::new(config, options)?)),
};

/// An ancestral Euler walk.
#[derive(Debug)]
struct EulerAncestral {
    climb: Climb,
}

impl EulerAncestral {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let ladder = Ladder::of(config, options, Whole::Fractional)?;
        Ok(Self { climb: ladder.single(config, options.start) })
    }
}

impl Scheduler for EulerAncestral {
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
        let call = self.climb.admit_single(step_index, model_output, sample)?;
        let (up, down) = ancestral(call.from, call.to);
        let clean = self.climb.clean(call.from, model_output, sample);
        let (sigma, dt) = (call.from as f32, (down - call.from) as f32);
        for (x, clean) in sample.iter_mut().zip(clean) {
            *x += (*x - clean) / sigma * dt;
        }
        // Drawn in the last step too, although nothing is added there.
        add_draws(sample, up, noise);
        Ok(())
    }
}
