//! Euler's method for EDM's models, equal to diffusers' `EDMEulerScheduler`, with churn.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::edm::EdmWalk;
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Churn, Take, WalkOptions};
use super::walk::{Course, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::EdmEuler,
    class: "EDMEulerScheduler",
    name: "edm-euler",
    aliases: &[],
    label: "EDM Euler",
    summary: "Euler's method, for EDM's models",
    near: &[],
    family: Family::Edm,
    betas: None,
    takes: &[Take::Churn],
    keys: &keys::EDM_EULER,
    words: &[],
    check: |_| Ok(()),
    build: |config, options| Ok(Box::new(EdmEuler::new(config, options)?)),
};

/// An Euler walk of an EDM model.
#[derive(Debug)]
struct EdmEuler {
    walk: EdmWalk,
    churn: Churn,
}

impl EdmEuler {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        Ok(Self { walk: EdmWalk::of(config, options)?, churn: options.churn.unwrap_or_default() })
    }
}

impl Scheduler for EdmEuler {
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
        let step = self.walk.admit(step_index, model_output, sample)?;
        let sigma = f64::from(self.walk.sigma(step));
        let gamma = self.churn.gamma(sigma, self.walk.len());
        let churned = sigma * (gamma + 1.0);
        if gamma > 0.0 {
            add_draws(sample, (churned * churned - sigma * sigma).sqrt() * self.churn.noise, noise);
        }
        let clean = self.walk.clean(churned as f32, model_output, sample);
        let (churned, dt) = (churned as f32, (f64::from(self.walk.sigma(step + 1)) - churned) as f32);
        for (x, clean) in sample.iter_mut().zip(clean) {
            *x += (*x - clean) / churned * dt;
        }
        Ok(())
    }
}
