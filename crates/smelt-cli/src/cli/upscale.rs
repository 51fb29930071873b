//! Making pictures larger.

use std::path::PathBuf;

use clap::Args;
use smelt::{Precision, Source};

use super::{examples, precision, source};
use crate::engine_args::EngineArgs;

/// `smelt upscale`.
#[derive(Debug, Args)]
#[command(after_help = examples::UPSCALE)]
pub(crate) struct UpscaleArgs {
    /// PNG, JPEG or WebP files.
    #[arg(required = true, value_name = "PICTURE")]
    pub(crate) pictures: Vec<PathBuf>,
    /// The upscaler: a file of ESRGAN or Real-ESRGAN (.pth, .safetensors), its package, or a folder that holds one such package.
    #[arg(short, long, value_name = "SOURCE", value_parser = source())]
    pub(crate) model: Source,
    /// The picture to write, by its name a PNG, JPEG or WebP, with the settings of the smaller one, or a folder for PNGs with
    /// the names of the pictures, which several need; - is standard output.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// How many times as large pictures become along each side, at most the upscaler's own factor, which is the default; smaller
    /// ones are made of its picture by Lanczos.
    #[arg(long, value_name = "X")]
    pub(crate) scale: Option<f64>,
    /// Longest side of the parts in which pictures are upscaled, in pixels; default: 256, or what the package was converted for.
    /// Larger parts compute less twice, and take more memory.
    #[arg(long, value_name = "N")]
    pub(crate) tile: Option<usize>,
    /// Pixels of context that are computed around each part and left out; default: 32, or a quarter of smaller parts.
    #[arg(long, value_name = "N")]
    pub(crate) overlap: Option<usize>,
    /// Precision of a network that is converted in memory: float16 or float32; default: float32.
    #[arg(long, value_parser = precision)]
    pub(crate) precision: Option<Precision>,
    /// Fetch nothing of the Hub (hf:owner/name/file): take what is in its cache, or say what is missing.
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}
