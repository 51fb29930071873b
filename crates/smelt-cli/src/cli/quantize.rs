//! The grammar of `smelt quantize`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use smelt::compression::RangeRule;

use super::examples;
use crate::engine_args::memory;

/// `smelt quantize`.
#[derive(Debug, Args)]
#[command(after_help = examples::QUANTIZE)]
pub(crate) struct QuantizeArgs {
    /// The package, of one size and number of samples; its weights are not compressed.
    pub(crate) package: PathBuf,
    /// The package to write, for macOS 14 and iOS 17 at least.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// What the package is given when it draws, as smelt calibrate records it: safetensors with a tensor for each input,
    /// samples first. Default: random inputs.
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// What the largest integer stands for: the largest magnitude (minmax), the one that 99.99 % of the elements do not
    /// exceed (percentile, or percentile:P), or the one with the least squared error (mse).
    #[arg(long, value_name = "RULE", default_value_t = RangeRule::Mse)]
    pub(crate) ranges: RangeRule,
    /// Quantize the activations of layers that alone leave so many dB at the output; 0 quantizes all without measuring them.
    /// Some layers are always quantized, and the projections behind attention never.
    #[arg(long, value_name = "DB", default_value_t = 40.0)]
    pub(crate) conv_psnr: f64,
    /// The same for the products of attention.
    #[arg(long, value_name = "DB", default_value_t = 30.0)]
    pub(crate) attn_psnr: f64,
    /// Instead: as many layers as leave so many dB together, those first that lose least for the work that they do.
    #[arg(long, value_name = "DB", conflicts_with_all = ["conv_psnr", "attn_psnr"])]
    pub(crate) psnr: Option<f64>,
    /// Instead: so large a share of the work, 0 to 1, with as little loss as can be.
    #[arg(long, value_name = "X", conflicts_with_all = ["conv_psnr", "attn_psnr", "psnr"], value_parser = share)]
    pub(crate) share: Option<f64>,
    /// Samples on which losses are measured, spread evenly over those that there are.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) measure: NonZeroUsize,
    /// Memory for the values that are looked at in one run: 500M, 2G.
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    pub(crate) memory: u64,
    /// Replace a package that is there already.
    #[arg(long)]
    pub(crate) force: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is no share from 0 to 1"))
}
