//! DPM-Solver++ multistep of order 1 and 2 (arXiv 2211.01095), equal to diffusers' `DPMSolverMultistepScheduler`.

use sd_spec::keys;
use serde::Deserialize;

use super::config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
use super::entry::{Entry, SchedulerKind, Words};
use super::schedule::{self, FinalSigma, SigmaKeys, SigmaSpacing, TrainingSigmas, leading, linspace, trailing};
use super::walk::{Scheduler, StepGuard, mix};
use crate::error::Result;
use crate::rng::RandomSource;

pub(super) const ENTRY: Entry = Entry {
    kind: SchedulerKind::DpmSolverMultistep,
    class: "DPMSolverMultistepScheduler",
    name: "dpmpp-2m",
    aliases: &["dpmpp"],
    summary: "DPM-Solver++ of second order",
    near: &["UniPCMultistep", "DEISMultistep", "DPMSolverSinglestep", "DPMSolverSDE", "SASolver"],
    keys: &keys::DPM_SOLVER_MULTISTEP,
    words: &[
        Words { key: "algorithm_type", meaning: "", instead: "the plain DPM-Solver++ is taken", absent: None },
        Words { key: "solver_order", meaning: "", instead: "order 2 is taken", absent: None },
        Words { key: "solver_type", meaning: "", instead: "midpoint is taken", absent: None },
    ],
    refuses: |_| None,
    check: |config| SigmaKeys::of(config).and(config.own::<Keys>()).map(drop),
    build: |config, n_steps, start| Ok(Box::new(DpmSolver::new(config, n_steps, start)?)),
};

/// Keys of its own.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    /// Order of the solver, 1 or 2.
    solver_order: usize,
    /// `midpoint` or `heun`; other names mean midpoint.
    solver_type: Option<String>,
    /// Take low orders at the end of fewer than [`FEW_STEPS`] steps.
    lower_order_final: bool,
    /// Take order 1 at the end.
    euler_at_final: bool,
    /// Smallest log-SNR used; absent means no bound.
    lambda_min_clipped: Option<f64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            solver_order: 2,
            solver_type: None,
            lower_order_final: true,
            euler_at_final: false,
            lambda_min_clipped: None,
        }
    }
}

/// Below this number of steps the last ones take a lower order (diffusers' rule).
const FEW_STEPS: usize = 15;

/// How the second-order term is approximated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecondOrder {
    Midpoint,
    Heun,
}

/// A DPM-Solver++ walk.
#[derive(Debug)]
struct DpmSolver {
    timesteps: Vec<f32>,
    /// One more than time steps; the last is the end.
    sigmas: Vec<f32>,
    prediction: PredictionType,
    second_order: Option<SecondOrder>,
    /// Whether the last step is of first order whatever the solver's.
    first_order_last: bool,
    /// The previous step's clean sample.
    previous: Option<Vec<f32>>,
    guard: StepGuard,
}

/// A noise level in the solver's terms: signal α, noise σ, and λ = ln α − ln σ.
#[derive(Debug, Clone, Copy)]
struct Level {
    alpha: f32,
    sigma: f32,
    lambda: f32,
}

impl Level {
    fn of(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}

impl DpmSolver {
    fn new(config: &SchedulerConfig, n_steps: usize, start: usize) -> Result<Self> {
        let training = TrainingSigmas::new(config);
        let (keys, of_sigmas): (Keys, _) = (config.own()?, SigmaKeys::of(config)?);
        let clipped = training.clipped(keys.lambda_min_clipped);
        let (timesteps, sigmas) = levels(config, &of_sigmas, &training, clipped, n_steps);
        let sigmas = training.finish(sigmas, of_sigmas.final_sigmas_type);
        let n = timesteps.len();
        Ok(Self {
            timesteps: timesteps.into_iter().skip(start).map(|t| t as f32).collect(),
            sigmas: sigmas.into_iter().skip(start).collect(),
            prediction: config.prediction_type,
            second_order: (keys.solver_order == 2).then_some(match keys.solver_type.as_deref() {
                Some("heun") => SecondOrder::Heun,
                _ => SecondOrder::Midpoint,
            }),
            first_order_last: keys.euler_at_final
                || (keys.lower_order_final && n < FEW_STEPS)
                || of_sigmas.final_sigmas_type == FinalSigma::Zero,
            previous: None,
            guard: StepGuard::default(),
        })
    }

    /// The clean sample that the model's output means, in place of the output.
    fn clean_sample(&self, level: Level, model_output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Level { alpha, sigma, .. } = level;
        let clean = |(&x, &out): (&f32, &f32)| match self.prediction {
            PredictionType::Epsilon => (x - sigma * out) / alpha,
            PredictionType::Sample => out,
            PredictionType::VPrediction => alpha * x - sigma * out,
        };
        sample.iter().zip(model_output).map(clean).collect()
    }
}

/// Time steps (whole numbers) and their sigmas, falling, without the last sigma; `clipped` of the noisiest training steps
/// are left out.
fn levels(
    config: &SchedulerConfig,
    keys: &SigmaKeys,
    training: &TrainingSigmas,
    clipped: usize,
    n: usize,
) -> (Vec<f64>, Vec<f64>) {
    let spread = match keys.spacing() {
        SigmaSpacing::AtTimesteps => {
            let timesteps = timesteps(config, clipped, n);
            let sigmas = timesteps.iter().map(|&t| training.at(t)).collect();
            return (timesteps, sigmas);
        }
        SigmaSpacing::Karras => schedule::karras,
        SigmaSpacing::Exponential => schedule::exponential,
    };
    // Unlike Euler's, these run over the whole training schedule.
    let largest = keys.sigma_max.unwrap_or(training.largest());
    let smallest = keys.sigma_min.unwrap_or(training.smallest());
    let sigmas = spread(largest, smallest, n);
    let rounded = keys.spacing() == SigmaSpacing::Karras && config.beta_schedule != BetaSchedule::SquaredCosine;
    let timesteps = sigmas
        .iter()
        .map(|&s| training.timestep_of(s))
        .map(|t| if rounded { t.round_ties_even() } else { t.trunc() })
        .collect();
    (timesteps, sigmas)
}

fn timesteps(config: &SchedulerConfig, clipped: usize, n: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    let last = train - clipped;
    let whole = |steps: Vec<i64>| steps.into_iter().map(|t| t as f64).collect();
    match config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace) {
        TimestepSpacing::Linspace => {
            let mut steps = linspace(0.0, (last - 1) as f64, n + 1);
            steps.remove(0);
            steps.into_iter().rev().map(f64::round_ties_even).collect()
        }
        TimestepSpacing::Leading => whole(leading(last / (n + 1), 1..n + 1, config.steps_offset)),
        TimestepSpacing::Trailing => whole(trailing(last, train, n)),
    }
}

impl Scheduler for DpmSolver {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn start(&self, clean: Option<&[f32]>, noise: &mut [f32]) {
        let Level { alpha, sigma, .. } = Level::of(self.sigmas[0]);
        mix(alpha, clean, sigma, noise);
    }

    fn step(
        &mut self,
        step_index: usize,
        model_output: &[f32],
        sample: &mut [f32],
        _: &mut dyn RandomSource,
    ) -> Result<()> {
        let count = self.timesteps.len();
        self.guard.admit(count, step_index, model_output, sample)?;
        let now = Level::of(self.sigmas[step_index]);
        let next = Level::of(self.sigmas[step_index + 1]);
        let clean = self.clean_sample(now, model_output, sample);
        let h = next.lambda - now.lambda;
        let keep = next.sigma / now.sigma;
        let gain = next.alpha * ((-h).exp() - 1.0);
        let last_of_first_order = self.first_order_last && step_index + 1 == count;
        match (self.second_order, self.previous.take()) {
            (Some(kind), Some(previous)) if !last_of_first_order => {
                let before = Level::of(self.sigmas[step_index - 1]);
                let r = (now.lambda - before.lambda) / h;
                let slope_gain = match kind {
                    SecondOrder::Midpoint => -0.5 * gain,
                    SecondOrder::Heun => next.alpha * (((-h).exp() - 1.0) / h + 1.0),
                };
                for ((x, &m0), m1) in sample.iter_mut().zip(&clean).zip(previous) {
                    let slope = (1.0 / r) * (m0 - m1);
                    *x = keep * *x - gain * m0 + slope_gain * slope;
                }
            }
            _ => {
                for (x, &m0) in sample.iter_mut().zip(&clean) {
                    *x = keep * *x - gain * m0;
                }
            }
        }
        self.previous = Some(clean);
        Ok(())
    }
}
