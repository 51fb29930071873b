//! Skip-layer guidance of Stable Diffusion 3: away from what the transformer predicts without some of its blocks, at the
//! steps that decide what goes where.
// Source of the rules: diffusers 0.42.1, StableDiffusion3Pipeline.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};

/// Blocks of a transformer, by number from 0.
///
/// Written as `7,8,9`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Blocks(u64);

impl Blocks {
    /// Numbers are below this.
    const LIMIT: usize = u64::BITS as usize;

    /// These blocks.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for none, for one given twice, and for a number that no transformer's block has.
    pub fn new(numbers: &[usize]) -> Result<Self> {
        let fail = |reason: String| {
            Err(RuntimeError::Options(format!("{reason}; give the numbers of blocks, from 0, such as 7,8,9")))
        };
        let mut blocks = 0;
        for &number in numbers {
            if number >= Self::LIMIT {
                return fail(format!("no transformer has a block {number}"));
            }
            if blocks & (1 << number) != 0 {
                return fail(format!("block {number} is given twice"));
            }
            blocks |= 1 << number;
        }
        if blocks == 0 { fail("no block is given that is to be left out".into()) } else { Ok(Self(blocks)) }
    }

    /// Their numbers, rising.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..Self::LIMIT).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl TryFrom<Vec<usize>> for Blocks {
    type Error = RuntimeError;

    fn try_from(numbers: Vec<usize>) -> Result<Self> {
        Self::new(&numbers)
    }
}

impl From<Blocks> for Vec<usize> {
    fn from(blocks: Blocks) -> Self {
        blocks.numbers().collect()
    }
}

impl FromStr for Blocks {
    type Err = RuntimeError;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
        let what = || RuntimeError::Options(format!("{text:?} are no numbers of blocks, such as 7,8,9"));
        Self::new(&numbers.ok_or_else(what)?)
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers().map(|number| number.to_string()).collect();
        f.write_str(&numbers.join(","))
    }
}

/// How far a picture is guided away from what a transformer without some blocks predicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipLayers {
    /// The blocks that are left out; 7, 8 and 9 for Stable Diffusion 3.5 medium.
    pub layers: Blocks,
    /// How strongly it counts; default 2.8.
    #[serde(default = "SkipLayers::default_scale")]
    pub scale: f32,
    /// The share of the steps after which it begins; default 0.01, which leaves out the first alone.
    #[serde(default = "SkipLayers::default_start")]
    pub start: f64,
    /// The share of the steps before which it ends; default 0.2.
    #[serde(default = "SkipLayers::default_stop")]
    pub stop: f64,
}

impl SkipLayers {
    /// Away from the transformer without these blocks, as far and as long as is usual.
    #[must_use]
    pub const fn new(layers: Blocks) -> Self {
        Self { layers, scale: Self::default_scale(), start: Self::default_start(), stop: Self::default_stop() }
    }

    const fn default_scale() -> f32 {
        2.8
    }

    const fn default_start() -> f64 {
        0.01
    }

    const fn default_stop() -> f64 {
        0.2
    }

    /// Whether it is on at call `idx` of a run of so many steps: both bounds lie outside.
    pub(crate) fn is_on(&self, idx: usize, n_steps: usize) -> bool {
        let (at, n) = (idx as f64, n_steps as f64);
        at > n * self.start && at < n * self.stop
    }

    pub(crate) fn check(&self, n_steps: usize) -> Result<()> {
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        let Self { scale, start, stop, .. } = *self;
        if !scale.is_finite() {
            return fail(format!("skip-layer scale {scale} is not a number"));
        }
        if !(start >= 0.0 && stop <= 1.0 && start < stop) {
            return fail(format!(
                "skip-layer guidance from {start} to {stop} of the steps is no interval of shares, the smaller first, from 0 \
                 to 1"
            ));
        }
        match (0..n_steps).any(|idx| self.is_on(idx, n_steps)) {
            true => Ok(()),
            false => fail(format!(
                "skip-layer guidance from {start} to {stop} of {n_steps} steps lies at none of them, for both bounds are left \
                 out; let it end later, take more steps, or leave it out"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(start: f64, stop: f64, n_steps: usize) -> Vec<usize> {
        let skip = SkipLayers { start, stop, ..SkipLayers::new(Blocks::new(&[7]).unwrap()) };
        (0..n_steps).filter(|&idx| skip.is_on(idx, n_steps)).collect()
    }

    #[test]
    fn both_bounds_are_left_out_as_in_diffusers() {
        assert_eq!(on(0.01, 0.2, 28), [1, 2, 3, 4, 5]);
        assert_eq!(on(0.01, 0.35, 10), [1, 2, 3]);
        assert_eq!(on(0.25, 0.5, 8), [3]);
        assert_eq!(on(0.0, 1.0, 3), [1, 2]);
    }

    #[test]
    fn blocks_are_written_as_they_are_read() {
        let blocks: Blocks = "9, 7,8".parse().unwrap();
        assert_eq!((blocks.to_string().as_str(), Vec::from(blocks)), ("7,8,9", vec![7, 8, 9]));
        for (text, fact) in [("", "no numbers"), ("7,7", "given twice"), ("64", "block 64"), ("7-9", "no numbers")] {
            let error = text.parse::<Blocks>().unwrap_err().to_string();
            assert!(error.contains(fact), "{text}: {error}");
        }
        let skip: SkipLayers = serde_json::from_str(r#"{"layers": [7, 8, 9]}"#).unwrap();
        assert_eq!(skip, SkipLayers::new(blocks));
        assert_eq!(serde_json::from_str::<SkipLayers>(&serde_json::to_string(&skip).unwrap()).unwrap(), skip);
        assert!(serde_json::from_str::<SkipLayers>(r#"{"layers": []}"#).is_err());
    }

    #[test]
    fn what_would_do_nothing_is_refused() {
        let skip = SkipLayers::new(Blocks::new(&[7]).unwrap());
        skip.check(20).unwrap();
        for (skip, steps, fact) in [
            (skip, 4, "at none of them"),
            (SkipLayers { scale: f32::NAN, ..skip }, 20, "not a number"),
            (SkipLayers { start: 0.3, ..skip }, 20, "no interval"),
            (SkipLayers { stop: 1.5, ..skip }, 20, "no interval"),
        ] {
            let error = skip.check(steps).unwrap_err().to_string();
            assert!(error.contains(fact), "{error}");
        }
    }
}
