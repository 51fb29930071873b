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
use super::walk::{History, Scheduler, StepGuard, add_draws};
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
struct Keys {
    /// Order of the solver, 1 to 3.
    solver_order: usize,
    algorithm_type: String,
    /// `midpoint` or `heun`; other names mean midpoint.
    solver_type: Option<String>,
    /// Take low orders at the end of fewer than [`FEW_STEPS`] steps.
    lower_order_final: bool,
    /// Take order 1 at the end.
    euler_at_final: bool,
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
    guard: StepGuard,
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
        let algorithm = Algorithm::named(&keys.algorithm_type).unwrap_or(Algorithm::DpmPlusPlus);
        let rungs = Rungs::of(config, options, LAYOUT)?;
        let refuse = |option: String, next: &str| {
            let scheduler = SchedulerKind::DpmSolverMultistep.class_name();
            Err(RuntimeError::SchedulerUnsupported { scheduler, option, next: next.to_owned() })
        };
        if !algorithm.takes_clean() && rungs.ends_at_zero() {
            return refuse(
                format!("algorithm_type \"{}\" with final_sigmas_type \"zero\"", keys.algorithm_type),
                "its last step would divide by zero; choose \"sigma_min\"",
            );
        }
        if algorithm == Algorithm::SdeDpm && keys.solver_order > 2 {
            return refuse("algorithm_type \"sde-dpmsolver\" with solver_order 3".to_owned(), "choose order 1 or 2");
        }
        Ok(Self {
            prediction: config.prediction_type,
            algorithm,
            order: keys.solver_order,
            kind: second_order(keys.solver_type.as_deref()),
            ends: Ends::of(rungs.len(), keys.lower_order_final, keys.euler_at_final, rungs.ends_at_zero()),
            rectify: Rectify::of(config, None)?,
            history: History::new(keys.solver_order),
            guard: StepGuard::default(),
            rungs,
        })
    }
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
    fn timesteps(&self) -> &[f32] {
        self.rungs.timesteps()
    }

    fn add_noise(&self, step_index: usize, clean: &[f32], noise: &mut [f32]) {
        self.rungs.add_noise(step_index, clean, noise);
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn RandomSource,
    ) -> Result<()> {
        self.guard.admit(self.rungs.timesteps().len(), step_index, model_output, sample)?;
        let step = step_index + self.rungs.skipped;
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
