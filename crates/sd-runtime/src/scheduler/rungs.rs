//! Schedulers that count in λ = ln α − ln σ (DPM-Solver, DEIS, UniPC, SA-Solver): a sample is α times the clean sample plus
//! σ times noise, and time steps are whole numbers.
//!
//! [`Rungs`] are time steps and sigmas of a walk; [`Level`] is one of them in the solver's terms.

use serde::Deserialize;

use super::config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
use super::options::WalkOptions;
use super::schedule::{FinalSigma, SigmaKeys, TrainingSigmas, leading, trailing};
use super::spread::{Spread, linspace};
use super::walk::{Course, StepGuard, mix};
use crate::error::{Result, RuntimeError};

/// Where such schedulers differ in how they lay out a walk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    /// The file's spacing of time steps is not followed; they are even and both ends included.
    pub(super) always_linspace: bool,
    /// Time steps of Karras' sigmas are truncated where betas follow the cosine.
    pub(super) truncates_cosine: bool,
    /// Steps below the smallest log-SNR allowed are left out.
    pub(super) clips: bool,
    /// What follows the last step.
    pub(super) end: End,
    /// How flow matching's sigmas are found.
    pub(super) flow: FlowLayout,
}

/// What follows the last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    /// What `final_sigmas_type` says: zero, or the smallest sigma of training.
    #[default]
    Asked,
    /// The same, but the last sigma once more where sigmas are chosen.
    AskedOrLast,
    /// The smallest sigma of training, and the last sigma once more where sigmas are chosen.
    SmallestOrLast,
}

/// How flow matching's sigmas are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum FlowLayout {
    /// From 1 − 1/1000, shifted.
    #[default]
    BelowOne,
    /// From 1, shifted; a first sigma of 1 is moved by 1e-6.
    FromOne,
}

/// Keys of flow matching, and the smallest log-SNR.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    lambda_min_clipped: Option<f64>,
    use_flow_sigmas: bool,
    flow_shift: f64,
    use_dynamic_shifting: bool,
    time_shift_type: String,
    shift_terminal: Option<f64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            lambda_min_clipped: None,
            use_flow_sigmas: false,
            flow_shift: 1.0,
            use_dynamic_shifting: false,
            time_shift_type: "exponential".to_owned(),
            shift_terminal: None,
        }
    }
}

/// A walk's time steps and sigmas.
#[derive(Debug)]
pub(super) struct Rungs {
    /// One for each step of the whole walk.
    timesteps: Vec<f32>,
    /// One more; the last is the end.
    sigmas: Vec<f32>,
    /// Whether they are flow matching's, with α = 1 − σ.
    is_flow: bool,
    /// Steps that are left out.
    skipped: usize,
    guard: StepGuard,
}

impl Rungs {
    /// Lays out a walk.
    ///
    /// # Errors
    /// As [`SigmaKeys::of`], and [`RuntimeError::Options`] for options that contradict the configuration.
    pub(super) fn of(config: &SchedulerConfig, options: &WalkOptions, layout: Layout) -> Result<Self> {
        let (keys, of_sigmas): (Keys, _) = (config.own()?, SigmaKeys::of(config)?);
        let rungs = |timesteps: Vec<f64>, sigmas: Vec<f32>, is_flow| Self {
            timesteps: timesteps.into_iter().map(|t| t as f32).collect(),
            sigmas,
            is_flow,
            skipped: options.start,
            guard: StepGuard::default(),
        };
        if options.mu.is_some() && !(keys.use_flow_sigmas && keys.use_dynamic_shifting) {
            return Err(RuntimeError::Options(
                "mu is given, which counts only with use_flow_sigmas and use_dynamic_shifting".into(),
            ));
        }
        let training = TrainingSigmas::new(config);
        let spread = config.spread.or(of_sigmas.spread());
        if keys.use_flow_sigmas {
            if spread.is_some() {
                return Err(RuntimeError::SchedulerConfig(
                    "use_flow_sigmas and another choice of sigmas are both made, and only one can be followed".into(),
                ));
            }
            let (timesteps, sigmas) = flow(config, &keys, of_sigmas.final_sigmas_type, options, layout)?;
            return Ok(rungs(timesteps, sigmas, true));
        }
        if options.sigmas.is_some() {
            return Err(RuntimeError::Options("sigmas are given, which count only with use_flow_sigmas".into()));
        }
        let Some(spread) = spread else {
            let timesteps = timesteps(config, &keys, &training, options, layout);
            let sigmas = timesteps.iter().map(|&t| training.at(t)).collect();
            let end =
                if layout.end == End::SmallestOrLast { FinalSigma::SigmaMin } else { of_sigmas.final_sigmas_type };
            return Ok(rungs(timesteps, training.finish(sigmas, end), false));
        };
        if options.timesteps.is_some() {
            return Err(RuntimeError::Options(
                "time steps are given, and the configuration chooses sigmas; only one can be followed".into(),
            ));
        }
        let (timesteps, sigmas) = chosen(config, &of_sigmas, &training, spread, (options.steps, layout));
        Ok(rungs(timesteps, sigmas, false))
    }

    /// Checks that a step is due, and gives its number in the whole walk.
    pub(super) fn admit(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<usize> {
        self.guard.admit(self.timesteps().len(), index, output, sample)?;
        Ok(index + self.skipped)
    }

    /// Steps of the whole walk.
    pub(super) fn len(&self) -> usize {
        self.timesteps.len()
    }

    /// Time step of a step of the whole walk.
    pub(super) fn timestep(&self, step: usize) -> f32 {
        self.timesteps[step]
    }

    /// A step of the whole walk in the solver's terms.
    pub(super) fn level(&self, step: usize) -> Level {
        let sigma = self.sigmas[step];
        if self.is_flow { Level::of_flow(sigma) } else { Level::of(sigma) }
    }

    /// Whether the walk ends without noise.
    pub(super) fn ends_at_zero(&self) -> bool {
        self.sigmas.last() == Some(&0.0)
    }

    /// The clean sample that the model's output means.
    pub(super) fn clean(&self, step: usize, prediction: PredictionType, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.level(step);
        let flow_sigma = self.sigmas[step];
        let clean = |(&x, &out): (&f32, &f32)| match prediction {
            PredictionType::Epsilon => (x - sigma * out) / alpha,
            PredictionType::Sample => out,
            PredictionType::VPrediction => alpha * x - sigma * out,
            PredictionType::Flow => x - flow_sigma * out,
        };
        sample.iter().zip(output).map(clean).collect()
    }

    /// The noise that the model's output means; `None` for flow matching, whose solvers count in clean samples.
    pub(super) fn noise(&self, step: usize, prediction: PredictionType, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.level(step);
        let flow_sigma = self.sigmas[step];
        let noise = |(&x, &out): (&f32, &f32)| match prediction {
            PredictionType::Epsilon => out,
            PredictionType::Sample => (x - alpha * out) / sigma,
            PredictionType::VPrediction => alpha * out + sigma * x,
            PredictionType::Flow => (x - alpha * (x - flow_sigma * out)) / sigma,
        };
        sample.iter().zip(output).map(noise).collect()
    }
}

impl Course for Rungs {
    fn timesteps(&self) -> &[f32] {
        self.timesteps.get(self.skipped..).unwrap_or_default()
    }

    fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32]) {
        match self.timesteps().len() {
            n if index < n => {
                let Level { alpha, sigma, .. } = self.level(index + self.skipped);
                mix(alpha, clean, sigma, noise);
            }
            _ => noise.copy_from_slice(clean),
        }
    }
}

/// Time steps and sigmas of a spread, and the end.
fn chosen(
    config: &SchedulerConfig,
    keys: &SigmaKeys,
    training: &TrainingSigmas,
    spread: Spread,
    (n, layout): (usize, Layout),
) -> (Vec<f64>, Vec<f32>) {
    // Unlike Euler's, these run over the whole training schedule.
    let largest = keys.sigma_max.unwrap_or(training.largest());
    let smallest = keys.sigma_min.unwrap_or(training.smallest());
    let chosen = training.spread(spread, largest, smallest, n);
    let whole = whole(spread, layout.truncates_cosine && config.beta_schedule == BetaSchedule::SquaredCosine);
    let timesteps = chosen.iter().map(|&s| whole(training.timestep_of(s))).collect();
    let again = chosen[chosen.len() - 1] as f32;
    let mut sigmas = training.finish(chosen, keys.final_sigmas_type);
    let repeats = match layout.end {
        End::Asked => false,
        End::AskedOrLast => keys.final_sigmas_type == FinalSigma::SigmaMin,
        End::SmallestOrLast => true,
    };
    if let (true, Some(end)) = (repeats, sigmas.last_mut()) {
        *end = again;
    }
    (timesteps, sigmas)
}

/// How a fractional time step becomes a whole one.
fn whole(spread: Spread, truncates: bool) -> fn(f64) -> f64 {
    match spread {
        Spread::Exponential | Spread::Beta => f64::trunc,
        Spread::Karras | Spread::Lu if truncates => f64::trunc,
        _ => f64::round_ties_even,
    }
}

fn timesteps(
    config: &SchedulerConfig,
    keys: &Keys,
    training: &TrainingSigmas,
    options: &WalkOptions,
    layout: Layout,
) -> Vec<f64> {
    if let Some(given) = &options.timesteps {
        return given.iter().map(|t| t.trunc()).collect();
    }
    let (train, n) = (config.num_train_timesteps, options.steps);
    let clipped = if layout.clips { training.clipped(keys.lambda_min_clipped) } else { 0 };
    let last = train - clipped;
    let whole = |steps: Vec<i64>| steps.into_iter().map(|t| t as f64).collect();
    match config.timestep_spacing.filter(|_| !layout.always_linspace).unwrap_or(TimestepSpacing::Linspace) {
        TimestepSpacing::Linspace => {
            let mut steps = linspace(0.0, (last - 1) as f64, n + 1);
            steps.remove(0);
            steps.into_iter().rev().map(f64::round_ties_even).collect()
        }
        TimestepSpacing::Leading => whole(leading(last / (n + 1), 1..n + 1, config.steps_offset)),
        TimestepSpacing::Trailing => whole(trailing(last, train, n)),
    }
}

/// Time steps and sigmas of flow matching.
fn flow(
    config: &SchedulerConfig,
    keys: &Keys,
    end: FinalSigma,
    options: &WalkOptions,
    layout: Layout,
) -> Result<(Vec<f64>, Vec<f32>)> {
    let (train, n) = (config.num_train_timesteps as f64, options.steps);
    if !(keys.flow_shift > 0.0 && keys.flow_shift.is_finite()) {
        return Err(RuntimeError::SchedulerConfig(format!("flow_shift {} is not positive", keys.flow_shift)));
    }
    let mut sigmas: Vec<f64> = match (&options.sigmas, layout.flow) {
        (Some(given), _) => given.clone(),
        (None, FlowLayout::FromOne) => linspace(1.0, 1.0 / train, n + 1),
        (None, FlowLayout::BelowOne) => {
            linspace(1.0, 1.0 / train, n + 1).into_iter().rev().map(|alpha| 1.0 - alpha).collect()
        }
    };
    if options.sigmas.is_none() {
        sigmas.truncate(n);
    }
    let shift = match (options.mu, keys.use_dynamic_shifting) {
        (Some(mu), true) if keys.time_shift_type == "linear" => mu,
        (Some(mu), true) => mu.exp(),
        (None, true) => {
            return Err(RuntimeError::Options(
                "use_dynamic_shifting needs mu, which depends on the picture's size".into(),
            ));
        }
        (_, false) => keys.flow_shift,
    };
    sigmas.iter_mut().for_each(|s| *s = shift * *s / (1.0 + (shift - 1.0) * *s));
    if let Some(terminal) = keys.shift_terminal.filter(|t| *t != 0.0) {
        super::flow::stretch(&mut sigmas, terminal);
    }
    if let (FlowLayout::FromOne, Some(first)) = (layout.flow, sigmas.first_mut())
        && (*first - 1.0).abs() < 1e-6
    {
        *first -= 1e-6;
    }
    let timesteps = sigmas.iter().map(|s| (s * train).trunc()).collect();
    let mut rounded: Vec<f32> = sigmas.iter().map(|&s| s as f32).collect();
    let last = rounded.last().copied().unwrap_or(0.0);
    rounded.push(match (layout.end, end) {
        (End::SmallestOrLast, _) | (End::AskedOrLast, FinalSigma::SigmaMin) => last,
        (End::Asked, FinalSigma::SigmaMin) => TrainingSigmas::new(config).smallest() as f32,
        (_, FinalSigma::Zero) => 0.0,
    });
    Ok((timesteps, rounded))
}

/// A noise level in the solver's terms: signal α, noise σ, and λ = ln α − ln σ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) alpha: f32,
    pub(super) sigma: f32,
    pub(super) lambda: f32,
}

impl Level {
    /// Of a sigma that is relative to the signal.
    pub(super) fn of(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }

    /// Of flow matching's sigma, with α = 1 − σ.
    pub(super) fn of_flow(sigma: f32) -> Self {
        let alpha = 1.0 - sigma;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }

    /// Of a sigma added to an unscaled clean sample.
    pub(super) fn unscaled(sigma: f32) -> Self {
        Self { alpha: 1.0, sigma, lambda: -sigma.ln() }
    }
}
