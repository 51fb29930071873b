//! DPM-Solver++ of second order in single steps, with noise added after each: k-diffusion's `sample_dpmpp_2s_ancestral`
//! with its eta and noise of 1. diffusers has no such class.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole, ancestral, half_way_down};
use super::options::{Take, WalkOptions};
use super::schedule::SigmaKeys;
use super::walk::{Course, Scheduler, add_draws, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::Dpmpp2sAncestral,
    class: "DPMPP2SAncestralScheduler",
    name: "dpmpp-2s-a",
    aliases: &["dpmpp-2s-ancestral", "k-dpmpp-2s-a", "k-dpmpp-2s-ancestral"],
    label: "DPM++ 2S a",
    summary: "DPM-Solver++ of second order with noise added after each step, two evaluations for each",
    near: &[],
    family: Family::Betas,
    betas: None,
    takes: &[Take::Timesteps, Take::Sigmas],
    keys: &keys::DPMPP_2S_ANCESTRAL,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(Dpmpp2sAncestral::new(config, options)?)),
};

/// A DPM++ 2S a walk.
#[derive(Debug)]
struct Dpmpp2sAncestral {
    climb: Climb,
    /// The sample at the step's beginning, between its two calls.
    begun: Option<Vec<f32>>,
}

impl Dpmpp2sAncestral {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let climb = Ladder::of(config, options, Whole::Fractional)?.halved(config, options.start, half_way_down);
        Ok(Self { climb, begun: None })
    }
}

impl Scheduler for Dpmpp2sAncestral {
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
        let (up, down) = ancestral(call.from, call.to);
        let begun = self.begun.take();
        if down == 0.0 {
            blend(sample, 0.0, &[(1.0, &clean)]);
        } else if let Some(first) = begun.filter(|_| call.is_second) {
            sample.copy_from_slice(&first);
            let keep = down / call.from;
            blend(sample, keep, &[(1.0 - keep, &clean)]);
        } else {
            self.begun = Some(sample.to_vec());
            let keep = f64::from(half_way_down(call.from, call.to)) / call.from;
            blend(sample, keep, &[(1.0 - keep, &clean)]);
            return Ok(());
        }
        if call.to > 0.0 {
            add_draws(sample, up, noise);
        }
        Ok(())
    }
}
