//! Recipes: how each weight is stored, so that a model has a size, a mean of bits, or a quality, and loses least.
//!
//! What a scheme loses of each weight was measured at the model's output (`smelt analyse`), or is estimated from the weights
//! alone. Losses of several weights add up, as far as that is known; of all assignments the best is found
//! ([`mil_compress::assign`]).

mod apple;
mod choose;
mod front;
mod picture;
mod size;
mod weighed;

use std::path::PathBuf;

use mil_compress::Named;

pub(crate) use choose::Chooser;
pub use front::{Recipe, RecipeRequest, Recipes};
pub(crate) use weighed::Part;

/// How a compression chooses for each weight.
#[derive(Debug, Clone)]
pub struct Choosing {
    /// What it is to come to.
    pub goal: Goal,
    /// Schemes to choose among, beside leaving a weight as it is; none for those that are usual.
    pub schemes: Vec<Named>,
    /// What each scheme loses of each weight (`smelt analyse`); estimated from the weights without it.
    pub analysis: Option<PathBuf>,
}

/// What a compression is to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most so many bits a weight on average, palettes and scales included.
    MeanBits(f64),
    /// All files that are written take at most so many bytes.
    Fit(u64),
    /// At least this peak signal-to-noise ratio at the model's output, in dB, and as few bytes as can be.
    Psnr(f64),
}

/// A peak signal-to-noise ratio in dB; infinite where nothing is lost.
pub(crate) fn psnr_db(peak: f64, loss: f64) -> f64 {
    if loss == 0.0 { f64::INFINITY } else { 10.0 * (peak * peak / loss).log10() }
}
