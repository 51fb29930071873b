//! How a program is executed.

/// When results are rounded to the type that the program declares for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rounding {
    /// Only inputs, constants, decoded weights and outputs have their declared precision; everything
    /// between is `f32`, casts included.
    #[default]
    Boundary,
    /// Every result of every operation, as hardware that computes in half precision does; sums inside of
    /// an operation are still `f32` or wider.
    Declared,
}

/// How long decoded constants are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Weights {
    /// Until their last use in a run: the least memory.
    #[default]
    PerRun,
    /// As long as the engine: the fastest for many runs, at four bytes a weight.
    Kept,
}

/// How a program is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// When results are rounded.
    pub rounding: Rounding,
    /// How long decoded constants are kept.
    pub weights: Weights,
    /// Most elements that one tensor may have; a larger one is an error.
    pub max_elements: usize,
    /// Most rounds of one `while_loop`; more are an error.
    pub max_rounds: usize,
}

impl Default for Options {
    /// Arithmetic in `f32`, weights decoded in every run, tensors of at most 2³² elements.
    fn default() -> Self {
        Self { rounding: Rounding::default(), weights: Weights::default(), max_elements: 1 << 32, max_rounds: 1 << 20 }
    }
}

impl Options {
    /// With this rounding.
    #[must_use]
    pub const fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// With constants kept this long.
    #[must_use]
    pub const fn with_weights(self, weights: Weights) -> Self {
        Self { weights, ..self }
    }

    /// With this limit to the elements of one tensor.
    #[must_use]
    pub const fn with_max_elements(self, max_elements: usize) -> Self {
        Self { max_elements, ..self }
    }

    /// With this limit to the rounds of one loop.
    #[must_use]
    pub const fn with_max_rounds(self, max_rounds: usize) -> Self {
        Self { max_rounds, ..self }
    }
}
