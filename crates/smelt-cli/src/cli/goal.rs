//! Goals of a compression that chooses by itself.

use std::path::PathBuf;

use clap::Args;
use smelt::compression::Named;
use smelt::{Goal, parse_bytes};

/// What a compression is to come to; each weight gets the scheme with which least is lost on the whole.
#[derive(Debug, Args)]
pub(crate) struct GoalArgs {
    /// Choose a scheme for each weight, so that all come to at most this many bits on average, palettes included.
    #[arg(long, value_name = "BITS", conflicts_with_all = ["fit", "psnr", "config"])]
    pub(crate) mean_bits: Option<f64>,
    /// Choose a scheme for each weight, so that all files that are written take at most this: 1.2GB, 900M.
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["psnr", "config"])]
    pub(crate) fit: Option<u64>,
    /// Choose a scheme for each weight, so that the output keeps this peak signal-to-noise ratio in as few bytes as can be.
    #[arg(long, value_name = "DB", conflicts_with = "config", requires = "analysis")]
    pub(crate) psnr: Option<f64>,
    /// What each scheme loses of each weight, as smelt analyse measured it, of this model or one that it was trained from;
    /// without it that is estimated from the weights alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) analysis: Option<PathBuf>,
    /// Schemes to choose among: palettes by their bits, for groups of 16 channels 4g16, with scaled channels 4s; integers int8,
    /// int4, for blocks of 32 channels int4b32. Default: those of the analysis, or 1,2,3,4,6,8, as far as the package may have
    /// them. A weight may always be left as it is.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) schemes: Vec<Named>,
}

/// The goal that was given; the grammar takes one at most.
pub(crate) fn goal(mean_bits: Option<f64>, fit: Option<u64>, psnr: Option<f64>) -> Option<Goal> {
    mean_bits.map(Goal::MeanBits).or(fit.map(Goal::Fit)).or(psnr.map(Goal::Psnr))
}

/// A size of files.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "it is no size, such as 800M or 1.2GB".to_owned())
}
