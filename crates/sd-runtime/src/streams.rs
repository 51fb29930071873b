//! The random numbers of a run with several pictures: one stream for all of them, or a stream for each.

use std::fmt;
use std::ops::Range;

use crate::error::{Result, RuntimeError};
use crate::request::GenerateOptions;
use crate::rng::RandomSource;
use crate::seeds::Seeds;

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
    use crate::variation::Variation;

    fn options(seed: u64, image_count: usize) -> GenerateOptions {
        GenerateOptions { seed, image_count, seeds: Seeds::Each, ..GenerateOptions::default() }
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
