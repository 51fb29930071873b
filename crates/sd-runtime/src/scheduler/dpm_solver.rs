//! DPM-Solver and DPM-Solver++ multistep of orders 1 to 3, as ODE and SDE (arXiv 2206.00927, 2211.01095), equal to diffusers'
//! `DPMSolverMultistepScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{PredictionType, SchedulerConfig};
use super::entry::{Entry, Family, SchedulerKind, Words};
use super::gains::{Algorithm, SecondOrder, multistep};
use super::options::{Take, WalkOptions};
use super::rectify::Rectify;
use super::rungs::{Layout, Rungs};
use super::schedule::SigmaKeys;
use super::walk::{Course, History, Scheduler, add_draws};
use crate::error::{Result, RuntimeError};
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::DpmSolverMultistep,
    class: "DPMSolverMultistepScheduler",
    name: "dpmpp-2m",
    aliases: &["dpmpp", "k-dpmpp-2m"],
    label: "DPM++ 2M",
    summary: "DPM-Solver++ of second order",
    near: &["DPMSolverMultistepInverse", "CosineDPMSolverMultistep"],
    family: Family::BetasOrFlow,
    betas: None,
    takes: &[Take::Timesteps, Take::Mu],
    keys: &keys::DPM_SOLVER_MULTISTEP,
    words: &[
        Words { key: "algorithm_type", meaning: "", instead: "the plain DPM-Solver++ is taken", absent: None },
        Words { key: "solver_order", meaning: "", instead: "order 2 is taken", absent: None },
        Words { key: "solver_type", meaning: "", instead: "midpoint is taken", absent: None },
    ],
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, options| Ok(Box::new(DpmSolver::new(config, options)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    /// Order of the solver, 1 to 3.
    pub(super) solver_order: usize,
    pub(super) algorithm_type: String,
    /// `midpoint` or `heun`; other names mean midpoint.
    pub(super) solver_type: Option<String>,
    /// Take low orders at the end of fewer than [`FEW_STEPS`] steps.
    pub(super) lower_order_final: bool,
    /// Take order 1 at the end.
    pub(super) euler_at_final: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            solver_order: 2,
            algorithm_type: "dpmsolver++".to_owned(),
            solver_type: None,
            lower_order_final: true,
            euler_at_final: false,
        }
    }
}

/// Below this number of steps the last ones take a lower order (diffusers' rule).
pub(super) const FEW_STEPS: usize = 15;

/// Time steps beyond which a walk may ask too little or too much of the formulas.
const LAYOUT: Layout = Layout {
    always_linspace: false,
    truncates_cosine: true,
    clips: true,
    end: super::rungs::End::Asked,
    flow: super::rungs::FlowLayout::BelowOne,
};

/// A DPM-Solver walk.
#[derive(Debug)]
struct DpmSolver {
    rungs: Rungs,
    prediction: PredictionType,
    algorithm: Algorithm,
    order: usize,
    kind: SecondOrder,
    ends: Ends,
    rectify: Rectify,
    history: History,
}

/// Which of the last steps take a lower order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// Whether the last step is of first order.
    pub(super) last_is_first: bool,
    /// Whether the last but one is of second order at most.
    pub(super) second_last_is_second: bool,
}

impl Ends {
    /// diffusers' rule, for so many steps.
    pub(super) const fn of(n: usize, lower_order_final: bool, euler_at_final: bool, ends_at_zero: bool) -> Self {
        let few = lower_order_final && n < FEW_STEPS;
        Self { last_is_first: euler_at_final || few || ends_at_zero, second_last_is_second: few }
    }

    /// The highest order that a step may take.
    pub(super) const fn most(self, step: usize, n: usize) -> usize {
        if self.last_is_first && step + 1 == n {
            1
        } else if self.second_last_is_second && step + 2 == n {
            2
        } else {
            usize::MAX
        }
    }
}

impl DpmSolver {
    fn new(config: &SchedulerConfig, options: &WalkOptions) -> Result<Self> {
        let keys: Keys = config.own()?;
        let rungs = Rungs::of(config, options, LAYOUT)?;
        let algorithm = Algorithm::of(&keys.algorithm_type, &rungs, ENTRY.class)?;
        if algorithm == Algorithm::SdeDpm && keys.solver_order > 2 {
            return Err(third_order(&keys, ENTRY.class));
        }
        Ok(Self {
            prediction: config.prediction_type,
            algorithm,
            order: keys.solver_order,
            kind: second_order(keys.solver_type.as_deref()),
            ends: Ends::of(rungs.len(), keys.lower_order_final, keys.euler_at_final, rungs.ends_at_zero()),
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.solver_order),
            rungs,
        })
    }
}

/// Refuses the third order, where an algorithm has none.
pub(super) fn third_order(keys: &Keys, scheduler: &'static str) -> RuntimeError {
    let option = format!("algorithm_type \"{}\" with solver_order 3", keys.algorithm_type);
    RuntimeError::SchedulerUnsupported { scheduler, option, next: "choose order 1 or 2".to_owned() }
}

/// The kind that a name stands for.
pub(super) fn second_order(name: Option<&str>) -> SecondOrder {
    if name == Some("heun") { SecondOrder::Heun } else { SecondOrder::Midpoint }
}

/// The clean sample or the noise that an output means, as the algorithm counts.
pub(super) fn converted(
    rungs: &Rungs,
    step: usize,
    algorithm: Algorithm,
    prediction: PredictionType,
    rectify: Rectify,
    (output, sample): (&[f32], &[f32]),
) -> Vec<f32> {
    let mut clean = rungs.clean(step, prediction, output, sample);
    rectify.apply(&mut clean);
    match (algorithm.takes_clean(), rectify) {
        (true, _) => clean,
        (false, Rectify::Nothing) => rungs.noise(step, prediction, output, sample),
        (false, _) => rungs.noise(step, PredictionType::Sample, &clean, sample),
    }
}

impl Scheduler for DpmSolver {
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
        let order = self.history.len().min(self.ends.most(step, self.rungs.len())).min(self.order);
        let outputs: Vec<_> = (0..order).map(|back| (self.rungs.level(step - back), self.history.ago(back))).collect();
        let gains = multistep(sample, self.algorithm, self.kind, self.rungs.level(step + 1), &outputs);
        if self.algorithm.draws() {
            add_draws(sample, f64::from(gains.noise), noise);
        }
        Ok(())
    }
}
