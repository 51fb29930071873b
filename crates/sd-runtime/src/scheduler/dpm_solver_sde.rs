//! DPM-Solver++ as a stochastic differential equation of second order (k-diffusion's DPM++ SDE), equal to diffusers'
//! `DPMSolverSDEScheduler` but for where its noise comes from.
//!
//! diffusers takes increments of one Brownian path, found from a seed of its own by a tree that depends on the order of all
//! earlier questions. Here each of them is a draw of the caller's random source.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, ancestral, half_way};
use super::options::WalkOptions;
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler, add_draws, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::DpmSolverSde,
    class: "DPMSolverSDEScheduler",
    name: "dpmpp-sde",
    aliases: &["k-dpmpp-sde"],
    label: "DPM++ SDE",
    summary: "DPM-Solver++ with noise, of second order, two evaluations for each step",
    near: &[],
    family: Family::Betas,
    betas: Some((0.00085, 0.012, "linear")),
    takes: &[],
    keys: &keys::DPM_SOLVER_SDE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(DpmSolverSde::new(config, options)?)),
};

/// A DPM++ SDE walk.
#[derive(Debug)]
struct DpmSolverSde {
    climb: Climb,
    /// The sample at the step's beginning, between its two calls.
    begun: Option<Vec<f32>>,
}

impl DpmSolverSde {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let climb = Ladder::of(config, options, Whole::Fractional)?.halved(config, options.start, half_way);
        Ok(Self { climb, begun: None })
    }
}

impl Scheduler for DpmSolverSde {
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
        let clean = self.climb.clean(call.at, model_output, sample);
        if call.to == 0.0 {
            // Euler's step to sigma 0 ends at the clean sample.
            blend(sample, 0.0, &[(1.0, &clean)]);
            return Ok(());
        }
        let to = match self.begun.take().filter(|_| call.is_second) {
            Some(first) => {
                sample.copy_from_slice(&first);
                call.to
            }
            None => {
                self.begun = Some(sample.to_vec());
                f64::from(half_way(call.from, call.to))
            }
        };
        let (up, down) = ancestral(call.from, to);
        let keep = down / call.from;
        blend(sample, keep, &[(1.0 - keep, &clean)]);
        add_draws(sample, up, noise);
        Ok(())
    }
}
