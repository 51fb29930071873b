//! DEIS in its log-rho form (arXiv 2204.13902), multistep of orders 1 to 3, equal to diffusers' `DEISMultistepScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::dpm_solver::FEW_STEPS;
use super::entry::{Entry, Family, SchedulerKind};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::rungs::{End, Layout, Rungs};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, blend};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::DeisMultistep,
    class: "DEISMultistepScheduler",
    name: "deis",
    aliases: &[],
    label: "DEIS",
    summary: "Exponential integrator of second order",
    near: &[],
    family: Family::BetasOrFlow,
    betas: None,
    takes: &[Take::Mu],
    keys: &keys::DEIS_MULTISTEP,
    words: &[],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(Deis::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    solver_order: usize,
    lower_order_final: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { solver_order: 2, lower_order_final: true }
    }
}

/// A DEIS walk.
#[derive(Debug)]
struct Deis {
    rungs: Rungs,
    prediction: PredictionType,
    order: usize,
    lower_order_final: bool,
    rectify: Rectify,
    history: History,
}

impl Deis {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let layout = Layout { end: End::SmallestOrLast, ..Layout::default() };
        Ok(Self {
            rungs: Rungs::of(config, options, layout)?,
            prediction: config.prediction_type,
            order: keys.solver_order,
            lower_order_final: keys.lower_order_final,
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.solver_order),
        })
    }

    /// The highest order that a step may take.
    fn most(&self, step: usize) -> usize {
        let n = self.rungs.len();
        match n - step {
            left @ 1..=2 if self.lower_order_final && n < FEW_STEPS => self.order.min(left),
            _ => self.order,
        }
    }
}

/// The integral from the newest of the nodes to `to`, over ρ, of the polynomial in ln ρ that is 1 at the node `which` and 0
/// at the others.
fn coefficient(nodes: &[f64], which: usize, to: f64) -> f64 {
    let ln = |x: f64| x.ln();
    let others: Vec<f64> = nodes.iter().enumerate().filter(|(k, _)| *k != which).map(|(_, node)| ln(*node)).collect();
    let scale: f64 = others.iter().map(|other| ln(nodes[which]) - other).product();
    let antiderivative = |t: f64| match others[..] {
        [c] => t * (ln(t) - c - 1.0),
        [c, d] => t * (ln(t) * ln(t) - (c + d + 2.0) * ln(t) + c * d + c + d + 2.0),
        _ => t,
    };
    (antiderivative(to) - antiderivative(nodes[0])) / scale
}

impl Scheduler for Deis {
    fn course(&self) -> &dyn Course {
        &self.rungs
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let step = self.rungs.admit(step_index, model_output, sample)?;
        let mut clean = self.rungs.clean(step, self.prediction, model_output, sample);
        self.rectify.apply(&mut clean);
        self.history.push(self.rungs.noise(step, PredictionType::Sample, &clean, sample));
        let order = self.history.len().min(self.most(step));
        let rho = |step: usize| {
            let level = self.rungs.level(step);
            f64::from(level.sigma) / f64::from(level.alpha)
        };
        let nodes: Vec<f64> = (0..order).map(|back| rho(step - back)).collect();
        let (now, next) = (self.rungs.level(step), self.rungs.level(step + 1));
        let (alpha, to) = (f64::from(next.alpha), rho(step + 1));
        let terms: Vec<(f64, &[f32])> =
            (0..order).map(|back| (alpha * coefficient(&nodes, back, to), self.history.ago(back))).collect();
        blend(sample, alpha / f64::from(now.alpha), &terms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::coefficient;

    #[test]
    fn coefficients_integrate_polynomials_in_the_logarithm_exactly() {
        let nodes = [3.0f64, 5.0, 9.0];
        let to = 1.5f64;
        for (name, f, integral) in [
            ("1", (|_| 1.0) as fn(f64) -> f64, to - 3.0),
            ("ln", f64::ln, (to * to.ln() - to) - (3.0 * 3.0f64.ln() - 3.0)),
        ] {
            let sum: f64 = (0..3).map(|i| coefficient(&nodes, i, to) * f(nodes[i])).sum();
            assert!((sum - integral).abs() < 1e-12, "{name}: {sum} {integral}");
        }
    }
}
