//! Linear multistep on the probability-flow ODE: Adams–Bashforth over uneven sigmas, equal to diffusers'
//! `LMSDiscreteScheduler`.

use sd_spec::keys;

use super::config::SchedulerConfig;
use super::entry::{Entry, Family, SchedulerKind};
use super::ladder::{Climb, Ladder, Whole};
use super::options::{Take, WalkOptions};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::LmsDiscrete,
    class: "LMSDiscreteScheduler",
    name: "lms",
    aliases: &["k-lms"],
    label: "LMS",
    summary: "Linear multistep of fourth order",
    near: &[],
    family: Family::Betas,
    betas: None,
    takes: &[Take::Order],
    keys: &keys::LMS_DISCRETE,
    words: &[],
    check: |config| SigmaKeys::of(config).map(drop),
    build: |config, options| Ok(Box::new(Lms::new(config, options)?)),
};

/// Outputs that are combined unless the options say otherwise.
const ORDER: usize = 4;

/// A linear multistep walk.
#[derive(Debug)]
struct Lms {
    climb: Climb,
    order: usize,
    slopes: History,
}

impl Lms {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let climb = Ladder::of(config, options, Whole::Fractional)?.single(config, options.start);
        let order = options.order.unwrap_or(ORDER);
        Ok(Self { climb, order, slopes: History::new(order) })
    }

    /// The integral over a step of the polynomial that is 1 at the sigma `which` steps ago and 0 at the others.
    fn coefficient(&self, order: usize, step: usize, which: usize) -> f64 {
        let sigma = |step: usize| f64::from(self.climb.sigmas()[step]);
        let basis = |x: f64| -> f64 {
            let others = (0..order).filter(|&k| k != which);
            others.map(|k| (x - sigma(step - k)) / (sigma(step - which) - sigma(step - k))).product()
        };
        // Gauss and Legendre's rule with five points is exact up to the ninth degree.
        const RULE: [(f64, f64); 5] = [
            (0.0, 0.568_888_888_888_888_9),
            (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.906_179_845_938_664, 0.236_926_885_056_189_08),
            (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
        ];
        let (from, to) = (sigma(step), sigma(step + 1));
        let (centre, half) = (0.5 * (from + to), 0.5 * (to - from));
        RULE.iter().map(|(x, weight)| weight * basis(centre + half * x)).sum::<f64>() * half
    }
}

impl Scheduler for Lms {
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
        let call = self.climb.admit_single(step_index, model_output, sample)?;
        self.slopes.push(self.climb.slope(call.from, model_output, sample));
        // As diffusers: a walk that begins later takes the coefficients of one that did not.
        let order = self.order.min(call.step + 1);
        let terms: Vec<(f64, &[f32])> = (0..order.min(self.slopes.len()))
            .map(|which| (self.coefficient(order, call.step, which), self.slopes.ago(which)))
            .collect();
        blend(sample, 1.0, &terms);
        Ok(())
    }
}
