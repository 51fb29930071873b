//! What can go wrong.

use mil::{Faults, SplitError};
use mil_compress::CompressError;
use mil_engine::EngineError;

/// Why a program cannot be analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SensitivityError {
    /// No scheme is to be looked at, or one is to be measured that is not.
    #[error("{0}")]
    Options(String),
    /// The weights cannot be chosen or compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The function cannot be cut.
    #[error("the program cannot be cut into parts")]
    Split(#[from] SplitError),
    /// A part that does not validate: a fault of this crate, or a program that never did.
    #[error("a part of the program is not valid")]
    Invalid(#[from] Faults),
    /// A part cannot be run.
    #[error("a part of the program cannot be run")]
    Engine(#[from] EngineError),
    /// A run gave infinities or NaNs with all weights as they are.
    #[error("output {output} is not finite with all weights as they are, so there is nothing to compare with")]
    NotFinite {
        /// The output.
        output: String,
    },
}

impl SensitivityError {
    /// True when somebody asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Stopped) | Self::Compress(CompressError::Stopped))
    }
}
