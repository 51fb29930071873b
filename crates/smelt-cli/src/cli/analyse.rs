//! The grammar of `smelt analyse`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use smelt::compression::Named;
use smelt::{Role, Shard, Source};

use super::{SourceArgs, examples, role, source};
use crate::engine_args::EngineArgs;

/// `smelt analyse`.
#[derive(Debug, Args)]
#[command(after_help = examples::ANALYSE)]
pub(crate) struct AnalyseArgs {
    /// The package, or a checkpoint, whose denoiser is then converted in memory.
    #[arg(value_parser = source(), required_unless_present = "merge", conflicts_with = "merge")]
    pub(crate) model: Option<Source>,
    /// The analysis to write, as JSON; what is measured is kept beside it, so that a run which was killed goes on.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// What the model is given: a file of smelt calibrate. Without it, random numbers.
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Samples to run, spread evenly over those of the file; default: one batch for models of more than 100 million
    /// weights, else 16.
    #[arg(long, value_name = "N")]
    pub(crate) samples: Option<NonZeroUsize>,
    /// Seed of random inputs.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "calibration")]
    pub(crate) seed: u64,
    /// Ways to store a weight, separated by commas: a palette of N bits is N, for groups of 16 channels Ng16, with scaled
    /// channels Ns; integers are int8, int4, for blocks of 32 channels int4b32.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "1,2,3,4,6,8")]
    pub(crate) schemes: Vec<Named>,
    /// Which of them to measure at the model's outputs, or all; the others are estimated from the error at the output of
    /// each weight's own operation. Default: 4, or the one in the middle.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = measured)]
    pub(crate) measure: Vec<Measure>,
    /// Only a part of the weights, counted from 1: 1/4 is the first of four.
    #[arg(long, value_name = "I/N", value_parser = shard, conflicts_with = "merge")]
    pub(crate) shard: Option<Shard>,
    /// Put the files of all shards together.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,
    /// Which network of a checkpoint; default: the denoiser.
    #[arg(long, value_name = "NAME", value_parser = role)]
    pub(crate) component: Option<Role>,
    /// Only weights that match, or are read by operations whose name or type does (* and ? stand for anything); repeatable.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) only: Vec<String>,
    /// Leave weights that match; repeatable.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) skip: Vec<String>,
    /// Leave weights of at most this many elements; default: 2048.
    #[arg(long, value_name = "N")]
    pub(crate) min_elements: Option<usize>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// Replace a file that is there already, and forget what an earlier run measured with other options.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// Every scheme.
    All,
    /// This one.
    Scheme(Named),
}

fn measured(text: &str) -> Result<Measure, String> {
    match text {
        "all" => Ok(Measure::All),
        _ => text.parse().map(Measure::Scheme).map_err(|error: smelt::compression::UnknownScheme| error.to_string()),
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
        _ => Err(format!("{text:?} is not I/N, counted from 1: 1/4 is the first shard of four")),
    }
}
