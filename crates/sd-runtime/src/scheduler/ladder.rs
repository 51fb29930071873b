//! Schedulers that count in sigmas (k-diffusion's): a sample is the clean sample plus sigma times noise, and the model is
//! given it divided by √(σ² + 1).
//!
//! A [`Ladder`] holds time steps and sigmas for chosen steps, and [`Climb`] what such a walk does in every call of the model.

use super::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use super::options::WalkOptions;
use super::schedule::{SigmaKeys, TrainingSigmas, leading, trailing};
use super::spread::linspace;
use super::walk::{Course, StepGuard, mix};
use crate::error::{Result, RuntimeError};

/// Options of such schedulers that lay out the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Time steps found from sigmas stay fractional.
    Fractional,
    /// They are rounded with Karras' sigmas.
    RoundedKarras,
}

/// Steps of a whole walk.
pub(super) struct Ladder {
    /// One for each step.
    pub(super) timesteps: Vec<f64>,
    /// One for each step, falling, and the end.
    pub(super) sigmas: Vec<f32>,
    /// Standard deviation of a first sample of noise alone.
    pub(super) init_noise_sigma: f32,
    /// The model's own sigmas.
    pub(super) training: TrainingSigmas,
}

impl Ladder {
    /// Lays out a walk as the configuration and the options say.
    ///
    /// # Errors
    /// As [`SigmaKeys::of`], and [`RuntimeError::Options`] for time steps beside chosen sigmas.
    pub(super) fn of(config: &SchedulerConfig, options: &WalkOptions, whole: Whole) -> Result<Self> {
        let keys = SigmaKeys::of(config)?;
        let training = TrainingSigmas::new(config);
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        if let Some(given) = &options.sigmas {
            return Self::through(given, spacing, training);
        }
        let spread = config.spread.or(keys.spread());
        let mut timesteps = match &options.timesteps {
            Some(_) if spread.is_some() => {
                return Err(RuntimeError::Options(
                    "time steps are given, and the configuration chooses sigmas; only one can be followed".into(),
                ));
            }
            Some(given) => given.iter().map(|&t| f64::from(t as f32)).collect(),
            None => timesteps(config, spacing, options.steps),
        };
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| training.at(t)).collect();
        if keys.is_log_linear() {
            sigmas = training.log_linear(timesteps.len() + 1);
        }
        if let Some(spread) = spread {
            // Ends of the steps chosen, not of the whole schedule.
            let largest = keys.sigma_max.unwrap_or(sigmas[0]);
            let smallest = keys.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
            sigmas = training.spread(spread, largest, smallest, timesteps.len());
            timesteps = sigmas.iter().map(|&s| training.timestep_of(s)).collect();
            if whole == Whole::RoundedKarras && spread == super::spread::Spread::Karras {
                timesteps.iter_mut().for_each(|t| *t = t.round_ties_even());
            }
        }
        if keys.is_continuous() && config.prediction_type == PredictionType::VPrediction {
            timesteps = sigmas.iter().map(|&s| f64::from((s as f32).ln()) * 0.25).collect();
        }
        let sigmas = training.finish(sigmas, keys.final_sigmas_type);
        Ok(Self::new(timesteps, sigmas, spacing, training))
    }

    /// A walk through given sigmas, of which the last is the end.
    fn through(given: &[f64], spacing: TimestepSpacing, training: TrainingSigmas) -> Result<Self> {
        let sigmas: Vec<f32> = given.iter().map(|&s| s as f32).collect();
        let [steps @ .., _] = &sigmas[..] else {
            return Err(RuntimeError::Options("no sigmas are given".into()));
        };
        if steps.is_empty() {
            return Err(RuntimeError::Options("one sigma is given, which is the end of the walk; two at least".into()));
        }
        let timesteps = steps.iter().map(|&s| training.timestep_of(f64::from(s))).collect();
        Ok(Self::new(timesteps, sigmas, spacing, training))
    }

    fn new(timesteps: Vec<f64>, sigmas: Vec<f32>, spacing: TimestepSpacing, training: TrainingSigmas) -> Self {
        let max_sigma = sigmas.iter().copied().fold(0.0, f32::max);
        let init_noise_sigma = match spacing {
            TimestepSpacing::Leading => (max_sigma * max_sigma + 1.0).sqrt(),
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => max_sigma,
        };
        Self { timesteps, sigmas, init_noise_sigma, training }
    }

    /// A walk that asks the model once for each step.
    pub(super) fn single(self, config: &SchedulerConfig, start: usize) -> Climb {
        let calls = self.timesteps.iter().zip(&self.sigmas).map(|(&t, &sigma)| (t, sigma)).collect();
        self.climb(config, calls, start)
    }

    /// A walk that asks the model twice for each step but the last; `between` gives time step and sigma of the second
    /// call, from the step's number.
    pub(super) fn double(
        self,
        config: &SchedulerConfig,
        start: usize,
        between: impl Fn(&Self, usize) -> (f64, f32),
    ) -> Climb {
        let mut calls = Vec::with_capacity(2 * self.timesteps.len());
        for step in 0..self.timesteps.len() {
            calls.push((self.timesteps[step], self.sigmas[step]));
            if step + 1 < self.timesteps.len() {
                calls.push(between(&self, step));
            }
        }
        self.climb(config, calls, 2 * start)
    }

    /// The same, where the second call is between the step's sigmas, as `middle` says of both.
    pub(super) fn halved(self, config: &SchedulerConfig, start: usize, middle: impl Fn(f64, f64) -> f32) -> Climb {
        self.double(config, start, |ladder, step| {
            let middle = middle(ladder.sigmas[step].into(), ladder.sigmas[step + 1].into());
            (ladder.training.timestep_of(middle.into()), middle)
        })
    }

    fn climb(self, config: &SchedulerConfig, calls: Vec<(f64, f32)>, skipped: usize) -> Climb {
        let (timesteps, inputs): (Vec<f32>, Vec<f32>) =
            calls.into_iter().skip(skipped).map(|(t, sigma)| (t as f32, sigma)).unzip();
        Climb {
            timesteps,
            inputs,
            sigmas: self.sigmas,
            skipped,
            init_noise_sigma: self.init_noise_sigma,
            prediction: config.prediction_type,
            guard: StepGuard::default(),
        }
    }
}

/// Time steps before any choice of sigmas, in f32 precision as diffusers has them.
fn timesteps(config: &SchedulerConfig, spacing: TimestepSpacing, n: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    let whole = |steps: Vec<i64>| steps.into_iter().map(|t| t as f64).collect();
    match spacing {
        TimestepSpacing::Linspace => {
            linspace(0.0, (train - 1) as f64, n).into_iter().rev().map(|t| f64::from(t as f32)).collect()
        }
        TimestepSpacing::Leading => whole(leading(train / n, 0..n, config.steps_offset)),
        TimestepSpacing::Trailing => whole(trailing(train, train, n)),
    }
}

/// What a walk in sigmas does in every call of the model.
#[derive(Debug)]
pub(super) struct Climb {
    /// One for each call.
    timesteps: Vec<f32>,
    /// Sigma of the sample of each call.
    inputs: Vec<f32>,
    /// Sigma of each step of the whole walk, and of its end.
    sigmas: Vec<f32>,
    /// Calls that are left out.
    skipped: usize,
    init_noise_sigma: f32,
    prediction: PredictionType,
    guard: StepGuard,
}

/// Where a call stands, in f64.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The step's number in the whole walk.
    pub(super) step: usize,
    /// Whether it is the step's second call.
    pub(super) is_second: bool,
    /// Sigma at the beginning of the step.
    pub(super) from: f64,
    /// Sigma at its end.
    pub(super) to: f64,
    /// Sigma of the sample that the model was given.
    pub(super) at: f64,
}

impl Climb {
    /// Checks that a call of a walk with one call for each step is due, and says where it stands.
    pub(super) fn admit_single(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<Call> {
        self.guard.admit(self.timesteps.len(), index, output, sample)?;
        Ok(self.call(index, index + self.skipped, false))
    }

    /// The same of a walk with two calls for each step.
    pub(super) fn admit_double(&mut self, index: usize, output: &[f32], sample: &[f32]) -> Result<Call> {
        self.guard.admit(self.timesteps.len(), index, output, sample)?;
        let call = index + self.skipped;
        Ok(self.call(index, call / 2, call % 2 == 1))
    }

    fn call(&self, index: usize, step: usize, is_second: bool) -> Call {
        let sigma = |step: usize| f64::from(self.sigmas[step]);
        Call { step, is_second, from: sigma(step), to: sigma(step + 1), at: f64::from(self.inputs[index]) }
    }

    /// Steps of the whole walk, with its end.
    pub(super) fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// The clean sample that the model's output means for a sample of this sigma.
    pub(super) fn clean(&self, sigma: f64, output: &[f32], sample: &[f32]) -> Vec<f32> {
        self.clean_churned(sigma, sigma, output, sample)
    }

    /// The noise that it means: how the sample changes with sigma.
    pub(super) fn slope(&self, sigma: f64, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let mut slope = self.clean(sigma, output, sample);
        let sigma = sigma as f32;
        slope.iter_mut().zip(sample).for_each(|(clean, &x)| *clean = (x - *clean) / sigma);
        slope
    }

    /// The clean sample where noise was added to a sample of sigma `before`, of which the model was not told.
    pub(super) fn clean_churned(&self, before: f64, now: f64, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let (before, now) = (before as f32, now as f32);
        let variance = before * before + 1.0;
        let v_scale = -before / variance.sqrt();
        let clean = |(&x, &out): (&f32, &f32)| match self.prediction {
            PredictionType::Epsilon => x - now * out,
            PredictionType::Sample => out,
            PredictionType::VPrediction => out * v_scale + x / variance,
            // No table of keys lets it through.
            PredictionType::Flow => x - now * out,
        };
        sample.iter().zip(output).map(clean).collect()
    }
}

impl Course for Climb {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }

    fn add_noise(&self, index: usize, clean: &[f32], noise: &mut [f32]) {
        let sigma = self.inputs.get(index).copied().unwrap_or(0.0);
        mix(1.0, clean, sigma, noise);
    }

    fn scale_model_input(&self, index: usize, sample: &mut [f32]) {
        let sigma = self.inputs[index];
        let scale = (sigma * sigma + 1.0).sqrt();
        for x in sample {
            *x /= scale;
        }
    }
}

/// Standard deviation of the noise that an ancestral step from one sigma to another adds, and sigma before it does.
pub(super) fn ancestral(from: f64, to: f64) -> (f64, f64) {
    let up = (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt().min(to);
    (up, (to * to - up * up).max(0.0).sqrt())
}

/// The sigma half way between two in the logarithm, in f32 as diffusers has it; 0 where one of them is.
pub(super) fn half_way(a: f64, b: f64) -> f32 {
    if a <= 0.0 || b <= 0.0 { 0.0 } else { (0.5 * (a.ln() + b.ln())).exp() as f32 }
}

/// The sigma half way to that to which an ancestral step goes down.
pub(super) fn half_way_down(from: f64, to: f64) -> f32 {
    half_way(from, ancestral(from, to).1)
}
