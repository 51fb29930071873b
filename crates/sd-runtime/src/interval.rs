//! Where guidance is on: in an interval of a walk, outside of which the prompt alone counts and one sample is enough.
//!
//! Limiting guidance to the middle noise levels makes better pictures, not only faster ones (arXiv 2404.07724); they are not
//! those of guidance throughout.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, RuntimeError};

/// What marks an interval of noise levels.
const SIGMA: &str = "sigma=";

/// An interval in which guidance is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GuidanceInterval {
    /// Of the walk: the share of its calls before the first guided one, and before the first that is not any more.
    Steps {
        /// From 0.
        start: f64,
        /// To 1.
        end: f64,
    },
    /// Of the noise level σ, noise by signal: above `low` and at most `high`, as in the paper.
    Sigma {
        /// 0 for no limit.
        low: f64,
        /// Infinite for no limit.
        high: f64,
    },
}

impl GuidanceInterval {
    /// Whether a call of a walk of so many lies within; `sigma` is its noise level.
    #[must_use]
    pub fn contains(&self, call: usize, n_calls: usize, sigma: f64) -> bool {
        match *self {
            // Bounds are rounded to whole calls, so that 0.2 of 20 calls are 4, whatever 0.2 is in binary.
            Self::Steps { start, end } => {
                let bound = |share: f64| (share * n_calls as f64).round() as usize;
                (bound(start)..bound(end)).contains(&call)
            }
            Self::Sigma { low, high } => sigma > low && sigma <= high,
        }
    }
}

impl fmt::Display for GuidanceInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { start, end } => write!(f, "{start}:{end}"),
            Self::Sigma { low, high } => write!(f, "{SIGMA}{low}:{high}"),
        }
    }
}

impl FromStr for GuidanceInterval {
    type Err = RuntimeError;

    /// Understands `0.2:0.8` and `sigma=0.28:5.42`; a bound may be left out, as in `:0.7`.
    fn from_str(text: &str) -> Result<Self> {
        let refused = |what: &str| {
            Err(RuntimeError::Options(format!(
                "guidance interval {text:?} {what}; give two shares of the steps (0.2:0.8), or two noise levels \
                 ({SIGMA}0.28:5.42), the smaller first"
            )))
        };
        let (bounds, is_sigma) = match text.strip_prefix(SIGMA) {
            Some(bounds) => (bounds, true),
            None => (text, false),
        };
        let most = if is_sigma { f64::INFINITY } else { 1.0 };
        let Some((first, last)) = bounds.split_once(':') else { return refused("is no interval") };
        let number = |text: &str, missing: f64| match text.trim() {
            "" => Some(missing),
            text => text.parse::<f64>().ok().filter(|x| !x.is_nan()),
        };
        let (Some(first), Some(last)) = (number(first, 0.0), number(last, most)) else {
            return refused("is no interval of numbers");
        };
        if first < 0.0 || last > most || first >= last {
            return refused("is empty or too wide");
        }
        Ok(match is_sigma {
            true => Self::Sigma { low: first, high: last },
            false => Self::Steps { start: first, end: last },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn guided(text: &str, n_calls: usize) -> Vec<usize> {
        let interval: GuidanceInterval = text.parse().unwrap();
        assert_eq!(interval.to_string().parse::<GuidanceInterval>().unwrap(), interval);
        // Noise falls from 10 to 1.
        let sigma = |call: usize| 10.0 - 9.0 * call as f64 / (n_calls - 1) as f64;
        (0..n_calls).filter(|&call| interval.contains(call, n_calls, sigma(call))).collect()
    }

    #[test]
    fn intervals_are_of_steps_or_of_noise() {
        assert_eq!(guided("0.2:0.8", 10), [2, 3, 4, 5, 6, 7]);
        assert_eq!(guided("0.3:0.6", 20), [6, 7, 8, 9, 10, 11]);
        assert_eq!(guided(":0.25", 4), [0]);
        assert_eq!(guided("0:1", 3), [0, 1, 2]);
        // The lower bound is left out, the upper one is not.
        assert_eq!(guided("sigma=3:8", 10), [2, 3, 4, 5, 6]);
        assert_eq!(guided("sigma=5:", 10), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_no_interval_says_what_would_be() {
        for text in ["", "0.5", "a:b", "0.8:0.2", "0.5:0.5", "0:20", "-1:1", "nan:1", "sigma=5:1", "sigma="] {
            let error = text.parse::<GuidanceInterval>().unwrap_err().to_string();
            assert!(error.contains("0.2:0.8"), "{text}: {error}");
        }
    }
}
