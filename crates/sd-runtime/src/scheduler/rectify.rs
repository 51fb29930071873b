//! What is done to a predicted clean sample whose values are too large: nothing, clipping, or Imagen's dynamic thresholding
//! (arXiv 2205.11487).

use serde::Deserialize;

use super::config::SchedulerConfig;
use crate::error::{Result, RuntimeError};

/// What is done to a predicted clean sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rectify {
    /// Nothing.
    Nothing,
    /// It is clipped to ± this.
    Clip(f32),
    /// It is clipped to the quantile of its magnitudes, at least 1 and at most `most`, and divided by it.
    Threshold {
        /// Which quantile.
        ratio: f64,
        /// The largest bound.
        most: f32,
    },
}

/// Keys that schedulers share for it.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    thresholding: bool,
    dynamic_thresholding_ratio: f64,
    sample_max_value: f64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1.0 }
    }
}

impl Rectify {
    /// What a configuration says; `clip` is the bound where the scheduler clips instead.
    ///
    /// # Errors
    /// [`RuntimeError::Json`] for a value of another type, [`RuntimeError::SchedulerConfig`] for one that is out of range.
    pub(super) fn of(config: &SchedulerConfig, clip: Option<f64>) -> Result<Self> {
        let keys: Keys = config.own()?;
        let fail = |key: &str, value: f64, range: &str| {
            Err(RuntimeError::SchedulerConfig(format!("{key} {value} is not {range}")))
        };
        if keys.thresholding {
            let (ratio, most) = (keys.dynamic_thresholding_ratio, keys.sample_max_value);
            if !(0.0..=1.0).contains(&ratio) {
                return fail("dynamic_thresholding_ratio", ratio, "between 0 and 1");
            }
            if !(most > 0.0 && most.is_finite()) {
                return fail("sample_max_value", most, "positive");
            }
            return Ok(Self::Threshold { ratio, most: most as f32 });
        }
        match clip {
            Some(range) if range.is_nan() || range < 0.0 => fail("clip_sample_range", range, "positive"),
            Some(range) => Ok(Self::Clip(range as f32)),
            None => Ok(Self::Nothing),
        }
    }

    /// Does it to a clean sample.
    pub(super) fn apply(self, clean: &mut [f32]) {
        match self {
            Self::Nothing => {}
            Self::Clip(range) => clean.iter_mut().for_each(|x| *x = x.clamp(-range, range)),
            Self::Threshold { ratio, most } => {
                // As torch clamps: where the least is above the most, the most counts.
                let bound = magnitude_at(clean, ratio).max(1.0).min(most);
                clean.iter_mut().for_each(|x| *x = x.clamp(-bound, bound) / bound);
            }
        }
    }
}

/// `torch.quantile` of the magnitudes: between two of them the value is interpolated.
fn magnitude_at(values: &[f32], ratio: f64) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|x| x.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let Some(last) = magnitudes.len().checked_sub(1) else { return 0.0 };
    let position = ratio * last as f64;
    let low = (position.floor() as usize).min(last);
    let (a, b) = (magnitudes[low], magnitudes[(low + 1).min(last)]);
    a + (b - a) * (position - low as f64) as f32
}
