//! The grammar of `smelt report`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use smelt::Sampler;

use super::generate::Schedulers;
use super::{SizeArgs, examples};
use crate::engine_args::EngineArgs;

/// `smelt report`.
#[derive(Debug, Args)]
#[command(after_help = examples::REPORT)]
pub(crate) struct ReportArgs {
    /// The directory of packages before.
    pub(crate) before: PathBuf,
    /// The directory of packages after.
    pub(crate) after: PathBuf,
    /// The page to write: HTML that needs nothing from outside; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Draw a picture of each line of a file, without those that are empty or begin with #; - is standard input. Default: 8
    /// prompts of general subjects, and for the model in the box 8 names that it knows.
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// No more than so many of the prompts.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroUsize>,
    /// Denoising steps; default: what the model recommends, or 20.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
    /// Classifier-free guidance; default: what the model recommends, or 7.5.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub(crate) guidance: Option<f32>,
    /// Scheduler; default: what the model recommends, or its own.
    #[arg(long, value_name = "NAME", value_parser = Schedulers)]
    pub(crate) scheduler: Option<Sampler>,
    /// Seed of the first picture; each has the next one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Replace a page that is there already.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
