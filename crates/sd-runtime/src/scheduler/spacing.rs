//! Time steps: how inference steps are spread over training steps, with NumPy's rounding.
//!
//! Rules of diffusers 0.42; steps fall.

use super::config::{SchedulerConfig, TimestepSpacing};
use crate::error::{Result, RuntimeError};

/// `numpy.linspace` in f64.
pub(super) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    if n <= 1 {
        return vec![start; n];
    }
    let step = (end - start) / (n - 1) as f64;
    let mut values: Vec<f64> = (0..n).map(|i| i as f64 * step + start).collect();
    values[n - 1] = end;
    values
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
