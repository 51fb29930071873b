//! The grammar of `smelt calibrate`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use smelt::{Precision, Sampler, Source};

use super::generate::Schedulers;
use super::{SizeArgs, SourceArgs, examples, precision, source};
use crate::engine_args::EngineArgs;

/// `smelt calibrate`.
#[derive(Debug, Args)]
#[command(after_help = examples::CALIBRATE)]
pub(crate) struct CalibrateArgs {
    /// Directory of packages, or a checkpoint, which is then converted in memory; default: the small model in the box.
    #[arg(short, long, value_name = "SOURCE", value_parser = source())]
    pub(crate) model: Option<Source>,
    /// The safetensors file to write: a tensor for each of the denoiser's inputs, samples first; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Draw a picture of each line of a file, without those that are empty or begin with #; - is standard input. Default: 17
    /// prompts of general subjects, and for the model in the box 17 names that it knows.
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// Draw 8 other prompts, to judge by what was calibrated with the 17.
    #[arg(long, conflicts_with = "prompts")]
    pub(crate) held_out: bool,
    /// What the pictures do not show.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) negative_prompt: Option<String>,
    /// Pictures of each prompt, of which each has a seed of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) count: u16,
    /// Samples to record, spread evenly over pictures and steps; with guidance each evaluation of the denoiser gives two,
    /// one with the negative prompt's text and one with the prompt's. Default: 128, or all that there are.
    #[arg(long, value_name = "N")]
    pub(crate) samples: Option<NonZeroUsize>,
    /// Denoising steps; default: what the model recommends, or 20.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
    /// Classifier-free guidance; default: what the model recommends, or 7.5, with the model in the box 4.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub(crate) guidance: Option<f32>,
    /// Scheduler; default: what the model recommends, or the checkpoint's own.
    #[arg(long, value_name = "NAME", value_parser = Schedulers)]
    pub(crate) scheduler: Option<Sampler>,
    /// Seed of the first picture; each has the next one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Packages have the sizes that they were converted for; a checkpoint has any.
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Directory of the tokenizer's files, where the model directory has none.
    #[arg(long, value_name = "DIR")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// Precision of a checkpoint that is converted in memory: float16, as by default, or float32.
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    pub(crate) precision: Option<Precision>,
    /// Replace a file that is there already.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
