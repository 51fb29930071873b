//! How a program is planned and run.

use super::precision::Precision;
use crate::{Isa, reference};

/// How weights are held while an engine lives. Results are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightForm {
    /// As they are stored, and decoded a piece at a time in every run: no time to load, and no memory but the file's.
    #[default]
    Stored,
    /// Compressed ones are decoded when a program is planned, to the type that it declares: a little faster in every
    /// run, for the memory that they would take without compression.
    Expanded,
}

/// How a program is planned and run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Instruction set; the machine's best when it is not given.
    pub isa: Option<Isa>,
    /// Threads; one for each core when it is not given.
    pub threads: Option<usize>,
    /// What products round their operands to.
    pub precision: Precision,
    /// How weights are held.
    pub weights: WeightForm,
    /// Names of inputs that rarely change from run to run; see [`Options::with_steady`].
    pub steady: Vec<String>,
    /// Limits for what the reference engine executes.
    pub limits: reference::Options,
}

impl Options {
    /// With this instruction set.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa: Some(isa), ..self }
    }

    /// With so many threads.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// With operands of products rounded so.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// With weights held so.
    #[must_use]
    pub fn with_weights(self, weights: WeightForm) -> Self {
        Self { weights, ..self }
    }

    /// With these inputs steady: what depends on them and on constants only is computed by the first run and by each
    /// whose steady inputs have other bytes than those of the run before, and kept in between. Results are the same to
    /// the bit.
    ///
    /// Nothing is kept when it would take more than 256 MiB. Names that are no inputs mean nothing.
    #[must_use]
    pub fn with_steady<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { steady: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// With these limits for what the reference engine executes.
    #[must_use]
    pub fn with_limits(self, limits: reference::Options) -> Self {
        Self { limits, ..self }
    }
}
