//! A picture to begin with as it is typed: its file, how much of it may change, and where.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use smelt::image::{Border, Fit};

/// What says where a picture changes.
const WHERE: &str = "where";

/// A picture to begin with.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new(WHERE).args(["mask", "outpaint"]).multiple(true))]
pub(crate) struct StartArgs {
    /// A picture to begin with (PNG, JPEG or WebP), of any size; --fit says how it is made to fit.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// How much of the picture to begin with may change: the share of the steps that are taken, above 0 to 1. Default: 0.5;
    /// with --mask or --outpaint 1.
    #[arg(long, value_name = "X", requires = "image", allow_hyphen_values = true)]
    pub(crate) strength: Option<f64>,
    /// What becomes of the picture's proportions where they are not those of what is drawn; default: crop.
    #[arg(long, value_name = "HOW", requires = "image", value_parser = fit())]
    pub(crate) fit: Option<Fit>,
    /// Repaint only what is white in this picture (PNG, JPEG or WebP), and keep what is black.
    #[arg(long, value_name = "FILE", requires = "image")]
    pub(crate) mask: Option<PathBuf>,
    /// Make the mask soft, by a Gaussian of this standard deviation in pixels of the picture; a little of what is kept
    /// changes then.
    #[arg(long, value_name = "PIXELS", requires = WHERE)]
    pub(crate) mask_blur: Option<f32>,
    /// Repaint what is black in the mask, and keep what is white.
    #[arg(long, requires = "mask")]
    pub(crate) mask_invert: bool,
    /// Draw only the masked part, at full size and with so many pixels around it (32 if nothing is said), and lay it back
    /// into the picture, which keeps its size.
    #[arg(long, value_name = "PADDING", requires = WHERE, num_args = 0..=1, require_equals = true, default_missing_value = "32")]
    pub(crate) only_masked: Option<usize>,
    /// Draw more around the picture: so many pixels on its left, above, on its right and below it, or one number for all
    /// sides. A checkpoint draws at the size that comes of it.
    #[arg(long, value_name = "LEFT,TOP,RIGHT,BOTTOM", requires = "image")]
    pub(crate) outpaint: Option<Border>,
    /// How strongly the picture counts for a model that edits pictures as the prompt instructs (InstructPix2Pix), from 1;
    /// --guidance says how strongly the instruction does. Default: 1.5.
    #[arg(long, value_name = "X", requires = "image", allow_hyphen_values = true)]
    pub(crate) image_guidance: Option<f32>,
}

fn fit() -> impl TypedValueParser<Value = Fit> {
    let value = |fit: Fit| PossibleValue::new(fit.name()).help(fit.summary());
    PossibleValuesParser::new(Fit::ALL.map(value)).try_map(|name| name.parse())
}
