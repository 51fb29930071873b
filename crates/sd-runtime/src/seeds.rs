//! The random numbers of a run with several pictures: one stream for all of them, or a stream for each.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Result, RuntimeError};
use crate::request::GenerateOptions;
use crate::rng::RandomSource;
use crate::variation::Variation;

/// Where several pictures of a run have their random numbers from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Seeds {
    /// From one stream, as diffusers draws a batch: every draw is one tensor for all of them.
    #[default]
    Stream,
    /// From a stream for each, of the seed and those behind it, as AUTOMATIC1111's web UI draws: each picture is the one
    /// that its own seed draws alone. With noise of another seed mixed in, that seed goes up, and the first one stays.
    Each,
}

impl Seeds {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Stream, Self::Each];

    /// The short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Each => "each",
        }
    }

    /// What it means, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Stream => "One stream of random numbers for all, as diffusers draws a batch",
            Self::Each => "Seeds N, N+1, … each for a picture of its own, as AUTOMATIC1111's web UI draws",
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Seeds {
    type Err = RuntimeError;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|seeds| seeds.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            RuntimeError::Options(format!("seeds {name:?} are not one of {names}"))
        })
    }
}

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

/// The random numbers of a run.
pub enum Streams {
    /// One stream; each picture has its share of every draw.
    One(Box<dyn RandomSource>),
    /// A stream for each picture, in their order.
    Each(Vec<Box<dyn RandomSource>>),
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(_) => f.write_str("One"),
            Self::Each(streams) => write!(f, "Each({})", streams.len()),
        }
    }
}

impl Clone for Streams {
    /// Streams that stand where these stand.
    fn clone(&self) -> Self {
        match self {
            Self::One(source) => Self::One(source.boxed_clone()),
            Self::Each(sources) => Self::Each(sources.iter().map(|source| source.boxed_clone()).collect()),
        }
    }
}

impl Streams {
    /// Those of the options' seeds, from their beginning.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for seeds that the random source does not take.
    pub fn of(options: &GenerateOptions) -> Result<Self> {
        options.check_seeds()?;
        let source = |idx| options.random.source(options.own_seed(idx).seed);
        Ok(match options.seeds {
            Seeds::Stream => Self::One(source(0)?),
            Seeds::Each => Self::Each((0..options.image_count).map(source).collect::<Result<_>>()?),
        })
    }

    /// The streams, each with the pictures of a run of so many that have their numbers from it.
    pub(crate) fn shares(&mut self, n_images: usize) -> Vec<(Range<usize>, &mut Box<dyn RandomSource>)> {
        match self {
            Self::One(source) => vec![(0..n_images, source)],
            Self::Each(sources) => sources.iter_mut().enumerate().map(|(idx, source)| (idx..idx + 1, source)).collect(),
        }
    }

    /// Checks that there are as many as the options ask for.
    pub(crate) fn check(&self, options: &GenerateOptions) -> Result<()> {
        match (self, options.seeds) {
            (Self::One(_), Seeds::Stream) => Ok(()),
            (Self::Each(sources), Seeds::Each) if sources.len() == options.image_count => Ok(()),
            _ => Err(RuntimeError::Options(format!(
                "seeds are to be {}, of {} pictures, and the random numbers that are given are {self:?}",
                options.seeds, options.image_count
            ))),
        }
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

    #[test]
    fn seeds_beyond_the_last_are_refused() {
        let last = u64::from(u32::MAX);
        options(last - 2, 3).check_seeds().unwrap();
        let error = options(last - 1, 3).check_seeds().unwrap_err().to_string();
        assert!(error.contains("seed 4294967296 is too large"), "{error}");
        let far = GenerateOptions { random: crate::rng::RandomKind::Torch, ..options(u64::MAX, 2) };
        assert!(Streams::of(&far).unwrap_err().to_string().contains("no 2 seeds from"));
        let others = GenerateOptions { variation: Some(Variation { seed: last, strength: 0.5 }), ..options(0, 2) };
        assert!(others.check_seeds().is_err());
        assert!("both".parse::<Seeds>().unwrap_err().to_string().contains("stream, each"));
    }
}
