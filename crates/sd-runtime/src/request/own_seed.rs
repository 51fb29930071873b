//! The seed that draws one picture of several again.

use crate::error::{Result, RuntimeError};
use crate::seeds::Seeds;
use crate::variation::Variation;

use super::GenerateOptions;

/// What draws one picture of a run again, alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnSeed {
    /// The seed.
    pub seed: u64,
    /// The noise of another seed that is mixed in.
    pub variation: Option<Variation>,
    /// Which picture of the seed's it is, from 0.
    pub image_idx: usize,
}

impl GenerateOptions {
    /// The seed of a picture, and which of that seed's it is.
    #[must_use]
    pub fn own_seed(&self, image_idx: usize) -> OwnSeed {
        let Self { seed, variation, .. } = *self;
        if self.seeds == Seeds::Stream {
            return OwnSeed { seed, variation, image_idx };
        }
        // webui 1.10, processing.py: the seed stays where another one counts.
        let stays = variation.is_some_and(|variation| variation.strength != 0.0);
        let up = image_idx as u64;
        let seed = if stays { seed } else { seed.saturating_add(up) };
        let variation = variation.map(|other| Variation { seed: other.seed.saturating_add(up), ..other });
        OwnSeed { seed, variation, image_idx: 0 }
    }

    /// Refuses seeds that the random source does not take, or that there are not so many of.
    pub(crate) fn check_seeds(&self) -> Result<()> {
        let last = self.image_count.saturating_sub(1);
        let OwnSeed { seed, .. } = self.own_seed(last);
        self.random.check_seed(seed)?;
        let others = self.variation.map(|variation| variation.seed);
        let counting = others.into_iter().chain((self.seeds == Seeds::Each).then_some(self.seed));
        for first in counting {
            let reached = first.checked_add(last as u64).ok_or_else(|| {
                RuntimeError::Options(format!("there are no {} seeds from {first} on; give a smaller one", last + 1))
            })?;
            self.random.check_seed(reached)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(seed: u64, image_count: usize) -> GenerateOptions {
        GenerateOptions { seed, image_count, seeds: Seeds::Each, ..GenerateOptions::default() }
    }

    #[test]
    fn the_seed_counts_or_the_variations() {
        let plain = options(7, 3);
        let own = |options: &GenerateOptions, idx| {
            let OwnSeed { seed, variation, image_idx } = options.own_seed(idx);
            (seed, variation.map(|variation| variation.seed), image_idx)
        };
        assert_eq!(own(&plain, 2), (9, None, 0));
        let varied = |strength| GenerateOptions { variation: Some(Variation { seed: 40, strength }), ..options(7, 3) };
        assert_eq!(own(&varied(0.5), 2), (7, Some(42), 0));
        assert_eq!(own(&varied(0.0), 2), (9, Some(42), 0));
        let one = GenerateOptions { seeds: Seeds::Stream, ..varied(0.5) };
        assert_eq!(own(&one, 2), (7, Some(40), 2));
    }
}
