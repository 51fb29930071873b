//! Whether several pictures of a run share a stream of random numbers, or each has one.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, RuntimeError};

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
