//! The rules by which steps are foretold, by name; what they do is `denoise::forecast`'s.

use std::fmt;
use std::str::FromStr;

use crate::error::RuntimeError;

/// A rule by which steps are foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecasting {
    /// Spectrum's steps, and its numbers as stable-diffusion.cpp has them.
    Spectrum,
    /// Spectrum's steps, foretold along the line through the last two alone.
    Line,
}

impl Forecasting {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Spectrum, Self::Line];

    /// The short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spectrum => "spectrum",
            Self::Line => "line",
        }
    }
}

impl fmt::Display for Forecasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Forecasting {
    type Err = RuntimeError;

    fn from_str(name: &str) -> Result<Self, RuntimeError> {
        Self::ALL.into_iter().find(|rule| rule.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            RuntimeError::Options(format!("nothing is known of forecasts by {name:?}; rules are {names}"))
        })
    }
}
