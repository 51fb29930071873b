//! What schedulers compute before the first step: betas, cumulative alphas, sigmas, and how steps are spread over training
//! steps, in the precision and with the rounding of diffusers 0.42.
//!
//! Betas and ᾱ are f32 (torch), the running product is kept in f64 as torch's `cumprod` does.
//! Sigmas for chosen steps are interpolated in f64 (NumPy) and rounded to f32 at the end.

use serde::Deserialize;

use super::config::{BetaSchedule, SchedulerConfig, TimestepSpacing};
use super::spread::{self, Spread, linspace};
use crate::error::{Result, RuntimeError};

/// FP16's smallest subnormal: diffusers' stand-in for a last ᾱ of zero, so that sigma stays finite.
const ALMOST_ZERO_ALPHA: f32 = 1.0 / 16_777_216.0;

/// ᾱ of every training step: the products of 1 − beta.
pub(super) fn alphas_cumprod(config: &SchedulerConfig) -> Vec<f32> {
    let betas = betas(config);
    let products = running_product(betas.iter().map(|beta| 1.0 - beta));
    if config.rescale_betas_zero_snr {
        let betas = zero_terminal_snr(&products);
        return running_product(betas.iter().map(|beta| 1.0 - beta));
    }
    products
}

fn betas(config: &SchedulerConfig) -> Vec<f32> {
    let n = config.num_train_timesteps;
    if let Some(betas) = &config.trained_betas {
        return betas.iter().map(|&b| b as f32).collect();
    }
    match config.beta_schedule {
        BetaSchedule::Linear => torch_linspace(config.beta_start, config.beta_end, n),
        BetaSchedule::ScaledLinear => {
            let roots = torch_linspace(config.beta_start.sqrt(), config.beta_end.sqrt(), n);
            roots.into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosine => {
            betas_of(n, |t| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2))
        }
        BetaSchedule::Exponential => betas_of(n, |t| (-12.0 * t).exp()),
        BetaSchedule::Laplace => betas_of(n, |t| {
            let distance = (0.5 - t).abs();
            let snr = (-0.5 * (0.5 - t).signum() * (1.0 - 2.0 * distance + 1e-6).ln()).exp();
            (snr / (1.0 + snr)).sqrt()
        }),
        BetaSchedule::Sigmoid => {
            let (start, end) = (config.beta_start as f32, config.beta_end as f32);
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            torch_linspace(-6.0, 6.0, n).into_iter().map(|x| sigmoid(x) * (end - start) + start).collect()
        }
    }
}

/// Betas below 0.999 that make ᾱ follow a curve over the share of the steps that are done.
fn betas_of(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// `torch.linspace` in f32: counts up from the start in the first half and down from the end in the second.
pub(super) fn torch_linspace(start: f64, end: f64, n: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n - 1) as f32;
    (0..n).map(|i| if i < n / 2 { start + step * i as f32 } else { end - step * (n - 1 - i) as f32 }).collect()
}

fn running_product(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    factors
        .scan(1.0f64, |product, factor| {
            *product *= f64::from(factor);
            Some(*product as f32)
        })
        .collect()
}

/// Algorithm 1 of arXiv 2305.08891: shift and scale √ᾱ so that it ends at zero and starts as before.
fn zero_terminal_snr(alphas_cumprod: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = alphas_cumprod.iter().map(|a| a.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let squares: Vec<f32> = roots
        .iter()
        .map(|root| {
            let shifted = (root - last) * scale;
            shifted * shifted
        })
        .collect();
    let mut previous = 1.0;
    squares.into_iter().map(|square| 1.0 - square / std::mem::replace(&mut previous, square)).collect()
}

/// Sigmas of every training step, √((1 − ᾱ)/ᾱ), rising.
pub(super) struct TrainingSigmas {
    sigmas: Vec<f32>,
    logs: Vec<f32>,
}

/// The sigma after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinalSigma {
    /// No noise at all.
    Zero,
    /// The smallest sigma of training.
    SigmaMin,
}

/// Keys of schedulers that count in sigmas.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct SigmaKeys {
    use_karras_sigmas: bool,
    use_exponential_sigmas: bool,
    use_beta_sigmas: bool,
    use_lu_lambdas: bool,
    /// Smallest sigma of Karras and exponential levels, when not the schedule's own.
    pub(super) sigma_min: Option<f64>,
    /// Largest sigma, likewise.
    pub(super) sigma_max: Option<f64>,
    /// The sigma after the last step.
    pub(super) final_sigmas_type: FinalSigma,
    /// How sigmas at the time steps are found: `linear` or `log_linear`.
    interpolation_type: String,
    /// What the model is told: `discrete` time steps, or the `continuous` ln(σ)/4.
    timestep_type: String,
}

impl Default for SigmaKeys {
    fn default() -> Self {
        Self {
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            use_lu_lambdas: false,
            sigma_min: None,
            sigma_max: None,
            final_sigmas_type: FinalSigma::Zero,
            interpolation_type: "linear".to_owned(),
            timestep_type: "discrete".to_owned(),
        }
    }
}

impl SigmaKeys {
    /// Those of a file.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type, [`RuntimeError::SchedulerConfig`] for sigmas that are no sigmas
    /// and for choices that exclude each other.
    pub(super) fn of(config: &SchedulerConfig) -> Result<Self> {
        let keys: Self = config.own()?;
        let fail = |reason: String| Err(RuntimeError::SchedulerConfig(reason));
        let on: Vec<&str> = keys.choices().filter(|(is_on, ..)| *is_on).map(|(_, name, _)| name).collect();
        if let [first, second, ..] = on[..] {
            return fail(format!("{first} and {second} are both true, and only one can be followed"));
        }
        for (name, sigma) in [("sigma_min", keys.sigma_min), ("sigma_max", keys.sigma_max)] {
            if let Some(sigma) = sigma.filter(|s| !(*s > 0.0 && s.is_finite())) {
                return fail(format!("{name} {sigma} is not positive"));
            }
        }
        Ok(keys)
    }

    /// The levels that the file chooses; `None` for those at the time steps.
    pub(super) fn spread(&self) -> Option<Spread> {
        self.choices().find(|(is_on, ..)| *is_on).map(|(.., spread)| spread)
    }

    /// Whether sigmas are even in the logarithm over the whole training schedule.
    pub(super) fn is_log_linear(&self) -> bool {
        self.interpolation_type == "log_linear"
    }

    /// Whether a model that predicts velocities is told sigmas in place of time steps.
    pub(super) fn is_continuous(&self) -> bool {
        self.timestep_type == "continuous"
    }

    fn choices(&self) -> impl Iterator<Item = (bool, &'static str, Spread)> {
        [
            (self.use_karras_sigmas, "use_karras_sigmas", Spread::Karras),
            (self.use_lu_lambdas, "use_lu_lambdas", Spread::Lu),
            (self.use_exponential_sigmas, "use_exponential_sigmas", Spread::Exponential),
            (self.use_beta_sigmas, "use_beta_sigmas", Spread::Beta),
        ]
        .into_iter()
    }
}

impl TrainingSigmas {
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        let mut alphas = alphas_cumprod(config);
        if config.rescale_betas_zero_snr
            && let Some(last) = alphas.last_mut()
        {
            *last = ALMOST_ZERO_ALPHA;
        }
        let sigmas: Vec<f32> = alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        let logs = sigmas.iter().map(|s| f64::from(*s).ln() as f32).collect();
        Self { sigmas, logs }
    }

    pub(super) fn smallest(&self) -> f64 {
        f64::from(self.sigmas[0])
    }

    pub(super) fn largest(&self) -> f64 {
        f64::from(self.sigmas[self.sigmas.len() - 1])
    }

    /// How many of the noisiest steps have a log-SNR λ = −ln σ below the bound, as DPM-Solver leaves out.
    ///
    /// At least one step remains.
    pub(super) fn clipped(&self, lambda_min: Option<f64>) -> usize {
        let Some(bound) = lambda_min else { return 0 };
        let below = self.logs.iter().rev().take_while(|&&log| f64::from(-log) < bound);
        below.count().min(self.logs.len() - 1)
    }

    /// `numpy.interp` over training steps, clamped at both ends.
    pub(super) fn at(&self, timestep: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        if timestep <= 0.0 {
            return self.smallest();
        }
        if timestep >= last as f64 {
            return self.largest();
        }
        let low = timestep.floor() as usize;
        let (a, b) = (f64::from(self.sigmas[low]), f64::from(self.sigmas[low + 1]));
        (b - a) * (timestep - low as f64) + a
    }

    /// Falling levels of a spread between two ends, as many as asked for; [`Spread::Lu`] and what goes by time steps run
    /// over the whole training schedule.
    pub(super) fn spread(&self, spread: Spread, largest: f64, smallest: f64, n: usize) -> Vec<f64> {
        let last = (self.sigmas.len() - 1) as f64;
        match spread {
            Spread::Karras => spread::karras(largest, smallest, n),
            Spread::Exponential | Spread::PolyExponential => spread::exponential(largest, smallest, n),
            Spread::Beta => spread::beta(largest, smallest, n),
            Spread::Lu => {
                let (first, last) = (self.logs[self.logs.len() - 1], self.logs[0]);
                let ramp = spread::linspace(0.0, 1.0, n);
                let (first, last) = (f64::from(first), f64::from(last));
                ramp.into_iter().map(|ramp| (first + ramp * (last - first)).exp()).collect()
            }
            Spread::AlignYourSteps => spread::log_linear(&spread::ALIGN_YOUR_STEPS, n),
            Spread::AlignYourStepsXl => spread::log_linear(&spread::ALIGN_YOUR_STEPS_XL, n),
            Spread::Uniform => linspace(last, 0.0, n).into_iter().map(|t| self.at_by_log(t)).collect(),
            Spread::SgmUniform => {
                let steps = linspace(last, 0.0, n + 1).into_iter().take(n);
                steps.map(|t| self.at_by_log(t)).collect()
            }
        }
    }

    /// So many sigmas of the whole training schedule, even in the logarithm.
    pub(super) fn log_linear(&self, n: usize) -> Vec<f64> {
        let (first, last) = (self.logs[self.logs.len() - 1], self.logs[0]);
        torch_linspace(first.into(), last.into(), n).into_iter().map(|log| f64::from(log.exp())).collect()
    }

    /// Sigma at a fractional training step, interpolated in the logarithm as k-diffusion does.
    fn at_by_log(&self, timestep: f64) -> f64 {
        let low = (timestep.floor() as usize).min(self.logs.len() - 1);
        let high = (low + 1).min(self.logs.len() - 1);
        let (a, b) = (f64::from(self.logs[low]), f64::from(self.logs[high]));
        (a + (b - a) * (timestep - low as f64)).exp()
    }

    /// The fractional training step whose sigma this is, interpolated in the logarithm.
    pub(super) fn timestep_of(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.max(1e-10).ln();
        let at_or_below = self.logs.partition_point(|&l| f64::from(l) <= log_sigma);
        let low_idx = at_or_below.saturating_sub(1).min(self.logs.len() - 2);
        let (low, high) = (self.logs[low_idx], self.logs[low_idx + 1]);
        // NumPy subtracts the two f32 in f32.
        let w = ((f64::from(low) - log_sigma) / f64::from(low - high)).clamp(0.0, 1.0);
        (1.0 - w) * low_idx as f64 + w * (low_idx + 1) as f64
    }

    /// Appends the sigma after the last step and rounds all to f32.
    pub(super) fn finish(&self, sigmas: Vec<f64>, last: FinalSigma) -> Vec<f32> {
        let last = match last {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => self.sigmas[0],
        };
        let mut rounded: Vec<f32> = sigmas.into_iter().map(|s| s as f32).collect();
        rounded.push(last);
        rounded
    }
}

/// The steps of trailing spacing: from `last` down by `num_train_timesteps / n`, less one.
///
/// `numpy.arange` adds multiples of the rounded first difference, which decides ties.
/// Where it would yield a step more, by rounding, exactly `n` are kept.
pub(super) fn trailing(last: usize, num_train_timesteps: usize, n: usize) -> Vec<i64> {
    let start = last as f64;
    let delta = (start - num_train_timesteps as f64 / n as f64) - start;
    (0..n).map(|i| (start + i as f64 * delta).round_ties_even() as i64 - 1).filter(|&t| t >= 0).collect()
}

/// The steps of leading spacing: multiples of `ratio` from `steps_offset` up, falling.
pub(super) fn leading(ratio: usize, steps: std::ops::Range<usize>, offset: i64) -> Vec<i64> {
    steps.rev().map(|i| (i * ratio) as i64 + offset).collect()
}

/// Steps as PNDM and DDIM take them: whole numbers, each an index into the training schedule.
pub(super) fn whole_timesteps(config: &SchedulerConfig, n: usize) -> Result<Vec<i64>> {
    let train = config.num_train_timesteps;
    let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
    let steps = match spacing {
        TimestepSpacing::Linspace => {
            linspace(0.0, (train - 1) as f64, n).into_iter().rev().map(|t| t.round_ties_even() as i64).collect()
        }
        TimestepSpacing::Leading => leading(train / n, 0..n, config.steps_offset),
        TimestepSpacing::Trailing => trailing(train, train, n),
    };
    check_range(config, n, &steps)?;
    Ok(steps)
}

fn check_range(config: &SchedulerConfig, n: usize, steps: &[i64]) -> Result<()> {
    let train = config.num_train_timesteps;
    match steps.iter().find(|t| !(0..train as i64).contains(*t)) {
        None => Ok(()),
        Some(&timestep) => Err(RuntimeError::TimestepRange { timestep, steps: n, train, offset: config.steps_offset }),
    }
}
