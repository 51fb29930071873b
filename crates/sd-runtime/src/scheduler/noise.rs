//! Noise schedules: betas, cumulative alphas, and sigmas, in the precision diffusers computes them.
//!
//! Betas and ᾱ are f32 (torch), the running product is kept in f64 as torch's `cumprod` does.
//! Sigmas for chosen steps are interpolated in f64 (NumPy) and rounded to f32 at the end.

use super::config::{BetaSchedule, FinalSigma, SchedulerConfig};
use super::spacing::linspace;

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
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let at = |i: usize| alpha_bar(i as f64 / n as f64);
            (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
        }
    }
}

/// `torch.linspace` in f32: counts up from the start in the first half and down from the end in the second.
fn torch_linspace(start: f64, end: f64, n: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
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

/// How sigmas are chosen between the largest and the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SigmaSpacing {
    /// Those at the time steps.
    AtTimesteps,
    /// Karras et al. 2022, with rho = 7.
    Karras,
    /// Even in their logarithm.
    Exponential,
}

impl SigmaSpacing {
    pub(super) fn of(config: &SchedulerConfig) -> Self {
        if config.use_karras_sigmas == Some(true) {
            Self::Karras
        } else if config.use_exponential_sigmas == Some(true) {
            Self::Exponential
        } else {
            Self::AtTimesteps
        }
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

/// Levels of Karras et al. (arXiv 2206.00364, equation 5), falling.
pub(super) fn karras(largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (high, low) = (largest.powf(1.0 / RHO), smallest.powf(1.0 / RHO));
    linspace(0.0, 1.0, n).into_iter().map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
}

/// Levels that fall evenly in their logarithm.
pub(super) fn exponential(largest: f64, smallest: f64, n: usize) -> Vec<f64> {
    linspace(largest.ln(), smallest.ln(), n).into_iter().map(f64::exp).collect()
}
