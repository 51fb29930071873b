//! From what was seen of a value to the scale of its integers.

use super::Magnitudes;
use half::f16;
use host_tensor::DType;
use std::{fmt, str::FromStr};

/// The integer that the limit becomes; as many lie below zero.
pub(super) const MOST: u8 = 127;
/// Octaves below the largest magnitude in which a limit is looked for.
const OCTAVES: i32 = 12;
/// Limits that are tried in each of them, and between the best of these and its neighbours.
const PER_OCTAVE: i32 = 8;

/// Which magnitude the largest integer stands for. What is larger becomes that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeRule {
    /// The largest that was seen.
    MinMax,
    /// The one that so many hundredths of the elements do not exceed.
    Percentile(f64),
    /// The one with the least squared error.
    Mse,
}

impl RangeRule {
    /// The limit; zero where nothing but zeros was seen.
    #[must_use]
    pub fn limit(self, seen: &Magnitudes) -> f32 {
        match self {
            Self::MinMax => seen.max(),
            // Where less than a hundredth of a hundredth is not zero, those few are what the value is about.
            Self::Percentile(percent) => {
                Some(seen.quantile(percent / 100.0)).filter(|l| *l > 0.0).unwrap_or(seen.max())
            }
            Self::Mse => least_loss(seen),
        }
    }
}

/// The limit with the least loss: looked for in steps of an eighth of an octave, then between these.
fn least_loss(seen: &Magnitudes) -> f32 {
    let max = seen.max();
    let at = |octaves: f64| (f64::from(max) * (-octaves).exp2()) as f32;
    let best = |places: &mut dyn Iterator<Item = f64>| {
        let tried = places.map(|place| (seen.loss(at(place), MOST), place));
        tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, place)| place)
    };
    let coarse = 1.0 / f64::from(PER_OCTAVE);
    let rough = best(&mut (0..=OCTAVES * PER_OCTAVE).map(|i| f64::from(i) * coarse));
    let fine = coarse / f64::from(PER_OCTAVE);
    at(best(&mut (-PER_OCTAVE..=PER_OCTAVE).map(|i| f64::from(i).mul_add(fine, rough).max(0.0))))
}

/// The step between integers of which the largest stands for `limit`, as a value of this type can hold it.
///
/// It is a normal number, because hardware takes smaller ones for zero.
#[must_use]
pub fn scale_of(limit: f32, dtype: DType) -> f32 {
    if limit <= 0.0 {
        return 1.0;
    }
    let exact = limit / f32::from(MOST);
    match dtype {
        DType::F16 => f16::from_f32(exact).max(f16::MIN_POSITIVE).min(f16::MAX).to_f32(),
        _ => exact.max(f32::MIN_POSITIVE),
    }
}

/// A name that no rule has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range: choose minmax, percentile (of 99.99, or percentile:P), or mse")]
pub struct UnknownRange(String);

/// What `percentile` means alone.
const USUAL_PERCENTILE: f64 = 99.99;

impl fmt::Display for RangeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

impl FromStr for RangeRule {
    type Err = UnknownRange;

    fn from_str(text: &str) -> Result<Self, UnknownRange> {
        let unknown = || UnknownRange(text.to_owned());
        match text.split_once(':') {
            None => match text {
                "minmax" => Ok(Self::MinMax),
                "percentile" => Ok(Self::Percentile(USUAL_PERCENTILE)),
                "mse" => Ok(Self::Mse),
                _ => Err(unknown()),
            },
            Some(("percentile", percent)) => {
                let percent = percent.parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 100.0);
                percent.map(Self::Percentile).ok_or_else(unknown)
            }
            Some(_) => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f32]) -> Magnitudes {
        let mut seen = Magnitudes::default();
        seen.observe_values(values);
        seen
    }

    /// Bell-shaped values with a few far outside.
    fn with_outliers() -> Magnitudes {
        let bell = (0..50_000).map(|i| {
            let x = (i as f32 * 0.618_034).fract() + (i as f32 * 0.414_214).fract() + (i as f32 * 0.732_051).fract();
            x - 1.5
        });
        seen(&bell.chain([100.0, -80.0]).collect::<Vec<_>>())
    }

    #[test]
    fn each_rule_has_its_limit() {
        let seen = with_outliers();
        assert_eq!(RangeRule::MinMax.limit(&seen), 100.0);
        let inner = RangeRule::Percentile(99.9).limit(&seen);
        assert!((1.2..1.5).contains(&inner), "{inner}");
        let best = RangeRule::Mse.limit(&seen);
        let loss = |limit: f32| seen.loss(limit, MOST);
        assert!(loss(best) < loss(100.0) && loss(best) < loss(inner), "{best}");
        // No limit of a fine grid is better by more than the grid's own coarseness.
        let grid = (0..4000).map(|i| loss(100.0 * 0.998f32.powi(i)));
        assert!(loss(best) <= grid.fold(f64::INFINITY, f64::min) * 1.001);
    }

    #[test]
    fn values_of_zeros_and_of_few_others_have_limits_too() {
        for rule in [RangeRule::MinMax, RangeRule::Percentile(99.0), RangeRule::Mse] {
            assert_eq!(rule.limit(&seen(&[0.0; 8])), 0.0, "{rule}");
            assert_eq!(rule.limit(&Magnitudes::default()), 0.0, "{rule}");
        }
        let mut few = vec![0.0; 100_000];
        few[7] = 3.0;
        assert_eq!(RangeRule::Percentile(99.0).limit(&seen(&few)), 3.0);
    }

    #[test]
    fn scales_are_normal_numbers_of_their_type() {
        assert_eq!(scale_of(127.0, DType::F32), 1.0);
        assert_eq!(scale_of(0.0, DType::F16), 1.0);
        assert_eq!(scale_of(1e-6, DType::F16), f16::MIN_POSITIVE.to_f32());
        let scale = scale_of(3.3, DType::F16);
        assert_eq!(f16::from_f32(scale).to_f32(), scale);
        assert!((scale * 127.0 / 3.3 - 1.0).abs() < 1e-3);
        assert!(scale_of(f32::MAX, DType::F16).is_finite());
    }

    #[test]
    fn rules_are_spelt_and_read() {
        for rule in [RangeRule::MinMax, RangeRule::Percentile(99.5), RangeRule::Mse] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        assert_eq!("percentile".parse(), Ok(RangeRule::Percentile(USUAL_PERCENTILE)));
        for text in ["", "max", "percentile:0", "percentile:101", "mse:1", "percentile:x"] {
            assert!(text.parse::<RangeRule>().unwrap_err().to_string().contains("minmax"), "{text}");
        }
    }
}
