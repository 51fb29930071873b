//! The grammar of `smelt recipe`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use smelt::compression::Named;

use super::examples;
use super::goal::size;

/// `smelt recipe`.
#[derive(Debug, Args)]
#[command(after_help = examples::RECIPE)]
pub(crate) struct RecipeArgs {
    /// What each scheme loses of each weight, as smelt analyse measured it.
    pub(crate) analysis: PathBuf,
    /// One recipe, of at most this many bits a weight on average, palettes included.
    #[arg(long, value_name = "BITS", conflicts_with_all = ["fit", "psnr"])]
    pub(crate) mean_bits: Option<f64>,
    /// One recipe, whose weights take at most this: 1.2GB, 900M; smelt compress --fit counts the whole package.
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "psnr")]
    pub(crate) fit: Option<u64>,
    /// One recipe, by which the output keeps this peak signal-to-noise ratio in as few bytes as can be.
    #[arg(long, value_name = "DB")]
    pub(crate) psnr: Option<f64>,
    /// How many recipes, evenly between the smallest schemes and the largest, where no goal is given; default: 7.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), conflicts_with_all = ["mean_bits", "fit", "psnr"])]
    pub(crate) count: Option<u16>,
    /// Schemes to choose among, by the names that smelt compress has; default: those of the analysis, with --form apple
    /// palettes of 1, 2, 4, 6 and 8 bits. A weight may always be left as it is.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) schemes: Vec<Named>,
    /// The file to write the recipes to; - is standard output. smelt compress --config FILE --recipe NAME takes them.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Whose form the file has: weights by their names in the program, or layers of the checkpoint with their bits, as Apple's
    /// mixed-bit palettization has it.
    #[arg(long, value_name = "FORM", default_value = "smelt", requires = "output")]
    pub(crate) form: RecipeForm,
    /// Draw quality against size, with the recipes, the best for each size, and each scheme alone for comparison: an SVG file.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

/// Forms of recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecipeForm {
    /// Ours.
    Smelt,
    /// That of Apple's mixed-bit palettization.
    Apple,
}
