//! DPM-Solver and DPM-Solver++ in single steps of orders 1 to 3, equal to diffusers' `DPMSolverSinglestepScheduler`.
//!
//! A step of order 3 spans three calls: each goes from the first of them to its own end, by what is known so far.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::dpm_solver::{converted, second_order};
use super::entry::{Entry, Family, SchedulerKind};
use super::gains::{Algorithm, Gains, SecondOrder};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::rungs::{Layout, Level, Rungs};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, add_draws};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::DpmSolverSinglestep,
    class: "DPMSolverSinglestepScheduler",
    name: "dpmpp-2s",
    aliases: &["dpm-singlestep"],
    label: "DPM++ 2S",
    summary: "DPM-Solver++ of second order in single steps",
    near: &[],
    family: Family::BetasOrFlow,
    betas: None,
    takes: &[Take::Timesteps, Take::Mu],
    keys: &keys::DPM_SOLVER_SINGLESTEP,
    words: &[],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(Singlestep::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    solver_order: usize,
    algorithm_type: String,
    solver_type: Option<String>,
    lower_order_final: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { solver_order: 2, algorithm_type: "dpmsolver++".to_owned(), solver_type: None, lower_order_final: false }
    }
}

/// A walk in single steps.
#[derive(Debug)]
struct Singlestep {
    rungs: Rungs,
    prediction: PredictionType,
    algorithm: Algorithm,
    kind: SecondOrder,
    /// The order of each call of the whole walk.
    orders: Vec<usize>,
    rectify: Rectify,
    /// The sample at the last call of order 1.
    base: Vec<f32>,
    history: History,
}

impl Singlestep {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let layout = Layout { always_linspace: true, clips: true, ..Layout::default() };
        let rungs = Rungs::of(config, options, layout)?;
        let algorithm = Algorithm::of(&keys.algorithm_type, &rungs, ENTRY.class)?;
        Ok(Self {
            prediction: config.prediction_type,
            algorithm,
            kind: second_order(keys.solver_type.as_deref()),
            orders: orders(rungs.len(), keys.solver_order, keys.lower_order_final, rungs.ends_at_zero()),
            rectify: Rectify::of(config, None)?,
            base: Vec::new(),
            history: History::new(keys.solver_order),
            rungs,
        })
    }

    /// From the sample of `order − 1` calls ago to the end of this one.
    fn advance(&self, step: usize, order: usize, sample: &mut [f32]) -> Gains {
        let output = |back: usize| self.history.ago(back);
        let level = |back: usize| self.rungs.level(step - back);
        let to = self.rungs.level(step + 1);
        let from = level(order - 1);
        let gains = Gains::of(self.algorithm, from, to);
        let h = to.lambda - from.lambda;
        if h == 0.0 {
            return gains;
        }
        let ratio = |at: Level| (at.lambda - from.lambda) / h;
        match order {
            1 => gains.take_first(sample, output(0)),
            2 => {
                let (m0, m1, r) = (output(0), output(1), ratio(level(0)));
                gains.take_second(sample, self.kind, m1, |i| (1.0 / r) * (m0[i] - m1[i]));
            }
            _ => {
                let (m0, m1, m2) = (output(0), output(1), output(2));
                let (r0, r1) = (ratio(level(0)), ratio(level(1)));
                let (near, far) = (|i: usize| (1.0 / r1) * (m1[i] - m2[i]), |i: usize| (1.0 / r0) * (m0[i] - m2[i]));
                match self.kind {
                    SecondOrder::Midpoint => gains.take_second(sample, SecondOrder::Heun, m2, far),
                    SecondOrder::Heun => gains.take_third(sample, m2, |i| {
                        let (near, far) = (near(i), far(i));
                        ((r0 * near - r1 * far) / (r0 - r1), 2.0 * (far - near) / (r0 - r1))
                    }),
                }
            }
        }
        gains
    }
}

/// The order of each of `n` calls: rising to the solver's, and low at the end.
///
/// As diffusers: low orders at the end also where the steps do not tile the walk, and where it ends without noise.
fn orders(n: usize, order: usize, lower_order_final: bool, ends_at_zero: bool) -> Vec<usize> {
    let mut orders: Vec<usize> = (0..n).map(|i| i % order + 1).collect();
    let Some(last) = orders.last_mut() else { return orders };
    // Where the steps tile the walk, the last group gives up its highest order; elsewhere it has none.
    let is_whole = order > 1 && n.is_multiple_of(order);
    if (lower_order_final && is_whole) || ends_at_zero {
        *last = 1;
    }
    orders
}

impl Scheduler for Singlestep {
    fn course(&self) -> &dyn Course {
        &self.rungs
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.rungs.admit(step_index, model_output, sample)?;
        let both = (model_output, &*sample);
        self.history.push(converted(&self.rungs, step, self.algorithm, self.prediction, self.rectify, both));
        // A walk that begins later has fewer outputs than its first orders want.
        let order = self.orders[step].min(self.history.len());
        if order == 1 {
            self.base = sample.to_vec();
        }
        sample.copy_from_slice(&self.base);
        let gains = self.advance(step, order, sample);
        if self.algorithm.draws() {
            add_draws(sample, f64::from(gains.noise), noise);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::orders;

    #[test]
    fn orders_rise_in_groups_and_fall_at_the_end() {
        assert_eq!(orders(6, 3, true, false), [1, 2, 3, 1, 2, 1]);
        assert_eq!(orders(7, 3, true, false), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(orders(8, 3, true, false), [1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(orders(8, 3, true, true), [1, 2, 3, 1, 2, 3, 1, 1]);
        assert_eq!(orders(4, 2, true, false), [1, 2, 1, 1]);
        assert_eq!(orders(5, 2, false, false), [1, 2, 1, 2, 1]);
        assert_eq!(orders(4, 2, false, false), [1, 2, 1, 2]);
        assert_eq!(orders(6, 3, false, false), [1, 2, 3, 1, 2, 3]);
        assert_eq!(orders(3, 1, true, true), [1, 1, 1]);
    }
}
