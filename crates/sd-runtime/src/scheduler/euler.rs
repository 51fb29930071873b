//! Euler's method on the probability-flow ODE, equal to diffusers' `EulerDiscreteScheduler`, with churn.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole};
use super::options::{Churn, Take, WalkOptions};
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::EulerDiscrete,
    class: "EulerDiscreteScheduler",
    name: "euler",
    aliases: &["k-euler"],
    label: "Euler",
    summary: "Euler's method",
    near: &[],
    family: Family::Betas,
    betas: None,
    takes: &[Take::Timesteps, Take::Sigmas, Take::Churn],
    keys: &keys::EULER_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(Euler::new(config, options)?)),
};

/// An Euler walk.
#[derive(Debug)]
struct Euler {
    climb: Climb,
    churn: Churn,
    n_steps: usize,
}

impl Euler {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let ladder = Ladder::of(config, options, Whole::Fractional)?;
        let n_steps = ladder.sigmas.len() - 1;
        Ok(Self { climb: ladder.single(config, options.start), churn: options.churn.unwrap_or_default(), n_steps })
    }
}

impl Scheduler for Euler {
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
        let gamma = self.churn.gamma(call.from, self.n_steps);
        let sigma = call.from * (gamma + 1.0);
        if gamma > 0.0 {
            let added = (sigma * sigma - call.from * call.from).sqrt() * self.churn.noise;
            super::walk::add_draws(sample, added, noise);
        }
        let clean = self.climb.clean_churned(call.from, sigma, model_output, sample);
        let (sigma, dt) = (sigma as f32, (call.to - sigma) as f32);
        for (x, clean) in sample.iter_mut().zip(clean) {
            *x += (*x - clean) / sigma * dt;
        }
        Ok(())
    }
}
