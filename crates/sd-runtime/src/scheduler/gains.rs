//! What DPM-Solver's formulas multiply: a step replaces the sample by
//! `keep·x + first·D₀ + slope·D₁ + curve·D₂ + noise·z`, where D₀ is an output and D₁, D₂ are its first and second differences.
//!
//! The formulas are those of arXiv 2206.00927 and 2211.01095, in the order in which diffusers computes them, in f32.

use super::rungs::{Level, Rungs};
use crate::error::{Result, RuntimeError};

/// What the solver integrates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The ODE, from predicted noise.
    Dpm,
    /// The ODE, from predicted clean samples.
    DpmPlusPlus,
    /// The SDE, from predicted noise.
    SdeDpm,
    /// The SDE, from predicted clean samples.
    SdeDpmPlusPlus,
}

impl Algorithm {
    /// The one that `algorithm_type` names, for such a walk.
    ///
    /// # Errors
    /// [`RuntimeError::SchedulerUnsupported`] for one that counts in noise where the walk ends without any.
    pub(super) fn of(name: &str, rungs: &Rungs, scheduler: &'static str) -> Result<Self> {
        let algorithm = Self::named(name).unwrap_or(Self::DpmPlusPlus);
        if !algorithm.takes_clean() && rungs.ends_at_zero() {
            return Err(RuntimeError::SchedulerUnsupported {
                scheduler,
                option: format!("algorithm_type \"{name}\" with final_sigmas_type \"zero\""),
                next: "its last step would divide by zero; choose \"sigma_min\"".to_owned(),
            });
        }
        Ok(algorithm)
    }

    /// By diffusers' name; `deis` there means DPM-Solver++.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "dpmsolver" => Some(Self::Dpm),
            "dpmsolver++" | "deis" => Some(Self::DpmPlusPlus),
            "sde-dpmsolver" => Some(Self::SdeDpm),
            "sde-dpmsolver++" => Some(Self::SdeDpmPlusPlus),
            _ => None,
        }
    }

    /// Whether outputs become clean samples, and not noise.
    pub(super) const fn takes_clean(self) -> bool {
        matches!(self, Self::DpmPlusPlus | Self::SdeDpmPlusPlus)
    }

    /// Whether a step adds noise.
    pub(super) const fn draws(self) -> bool {
        matches!(self, Self::SdeDpm | Self::SdeDpmPlusPlus)
    }
}

/// How the second-order term is approximated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecondOrder {
    Midpoint,
    Heun,
}

/// The factors of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gains {
    pub(super) keep: f32,
    pub(super) first: f32,
    /// That of D₁ where D₂ is left out and `Midpoint` chosen.
    midpoint: f32,
    /// That of D₁ otherwise.
    heun: f32,
    pub(super) curve: f32,
    pub(super) noise: f32,
}

impl Gains {
    /// Those of a step from one level to another.
    pub(super) fn of(algorithm: Algorithm, from: Level, to: Level) -> Self {
        let h = to.lambda - from.lambda;
        match algorithm {
            Algorithm::DpmPlusPlus => {
                let decay = (-h).exp() - 1.0;
                let gain = to.alpha * decay;
                Self {
                    keep: to.sigma / from.sigma,
                    first: -gain,
                    midpoint: -0.5 * gain,
                    heun: to.alpha * (decay / h + 1.0),
                    curve: -to.alpha * ((decay + h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            Algorithm::Dpm => {
                let growth = h.exp() - 1.0;
                let gain = to.sigma * growth;
                Self {
                    keep: to.alpha / from.alpha,
                    first: -gain,
                    midpoint: -0.5 * gain,
                    heun: -to.sigma * (growth / h - 1.0),
                    curve: -to.sigma * ((growth - h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            Algorithm::SdeDpmPlusPlus => {
                let decay = 1.0 - (-2.0 * h).exp();
                let gain = to.alpha * decay;
                Self {
                    keep: to.sigma / from.sigma * (-h).exp(),
                    first: gain,
                    midpoint: 0.5 * gain,
                    heun: to.alpha * (decay / (-2.0 * h) + 1.0),
                    curve: to.alpha * ((decay - 2.0 * h) / (4.0 * h * h) - 0.5),
                    noise: to.sigma * decay.sqrt(),
                }
            }
            Algorithm::SdeDpm => {
                let growth = h.exp() - 1.0;
                let gain = to.sigma * growth;
                Self {
                    keep: to.alpha / from.alpha,
                    first: -2.0 * gain,
                    midpoint: -gain,
                    heun: -2.0 * to.sigma * (growth / h - 1.0),
                    curve: f32::NAN,
                    noise: to.sigma * ((2.0 * h).exp() - 1.0).sqrt(),
                }
            }
        }
    }

    /// The factor of D₁ in a step of second order.
    pub(super) const fn slope(&self, kind: SecondOrder) -> f32 {
        match kind {
            SecondOrder::Midpoint => self.midpoint,
            SecondOrder::Heun => self.heun,
        }
    }

    /// Takes a step of first order.
    pub(super) fn take_first(&self, sample: &mut [f32], m0: &[f32]) {
        for (x, &m0) in sample.iter_mut().zip(m0) {
            *x = self.keep * *x + self.first * m0;
        }
    }

    /// Takes a step of second order; `r` is the earlier step's length in λ by this one's.
    pub(super) fn take_second(
        &self,
        sample: &mut [f32],
        kind: SecondOrder,
        base: &[f32],
        slope: impl Fn(usize) -> f32,
    ) {
        let gain = self.slope(kind);
        for (i, (x, &base)) in sample.iter_mut().zip(base).enumerate() {
            *x = self.keep * *x + self.first * base + gain * slope(i);
        }
    }

    /// Takes a step of third order, from both differences.
    pub(super) fn take_third(&self, sample: &mut [f32], base: &[f32], differences: impl Fn(usize) -> (f32, f32)) {
        for (i, (x, &base)) in sample.iter_mut().zip(base).enumerate() {
            let (d1, d2) = differences(i);
            *x = self.keep * *x + self.first * base + self.heun * d1 + self.curve * d2;
        }
    }
}

/// Takes a multistep step of the order that as many earlier outputs allow; outputs newest first, each with its level.
pub(super) fn multistep(
    sample: &mut [f32],
    algorithm: Algorithm,
    kind: SecondOrder,
    to: Level,
    outputs: &[(Level, &[f32])],
) -> Gains {
    let [(from, m0), earlier @ ..] = outputs else {
        // Nothing to step by.
        return Gains::of(algorithm, to, to);
    };
    let gains = Gains::of(algorithm, *from, to);
    let h = to.lambda - from.lambda;
    if h == 0.0 {
        // The levels are the same: a step to nowhere, where the formulas divide by its length.
        return gains;
    }
    match *earlier {
        [] => gains.take_first(sample, m0),
        [(before, m1)] => {
            let r = (from.lambda - before.lambda) / h;
            gains.take_second(sample, kind, m0, |i| (1.0 / r) * (m0[i] - m1[i]));
        }
        [(before, m1), (long_before, m2), ..] => {
            let r0 = (from.lambda - before.lambda) / h;
            let r1 = (before.lambda - long_before.lambda) / h;
            gains.take_third(sample, m0, |i| {
                let (near, far) = ((1.0 / r0) * (m0[i] - m1[i]), (1.0 / r1) * (m1[i] - m2[i]));
                (near + r0 / (r0 + r1) * (near - far), 1.0 / (r0 + r1) * (near - far))
            });
        }
    }
    gains
}
