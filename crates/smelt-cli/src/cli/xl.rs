//! What only Stable Diffusion XL is told, as it is typed: prompts of the second text encoder, sizes, scores, its refiner.

use clap::Args;
use smelt::image::Size;
use smelt::{Conditions, Corner, Source};

use super::source;
use super::text::prompt;

/// What only Stable Diffusion XL is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stable Diffusion XL")]
pub(crate) struct XlArgs {
    /// What the picture shows, for the second text encoder; default: the prompt.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = prompt)]
    pub(crate) prompt_2: Option<String>,
    /// What the picture does not show, for the second text encoder; default: the negative prompt.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, requires = "negative_prompt")]
    pub(crate) negative_prompt_2: Option<String>,
    /// Size that the picture had before it was cut and scaled, as the model is told; small ones draw blurred pictures.
    /// Default: the picture's own.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    original_size: Option<Size>,
    /// How many pixels were cut off on the left and at the top, as the model is told; default: none.
    #[arg(long, value_name = "LEFT,TOP")]
    crop: Option<Corner>,
    /// Size that the picture was scaled to, as the model is told; default: the picture's own.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    target_size: Option<Size>,
    /// The original size of what the picture is guided away from; default: the same.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    negative_original_size: Option<Size>,
    /// The crop of what the picture is guided away from; default: the same, or none beside another size.
    #[arg(long, value_name = "LEFT,TOP")]
    negative_crop: Option<Corner>,
    /// The target size of what the picture is guided away from; default: the same.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    negative_target_size: Option<Size>,
    /// Aesthetic score, about 1 to 10, that the refiner aims at; default: 6.
    #[arg(long, value_name = "X")]
    aesthetic_score: Option<f32>,
    /// Aesthetic score that the refiner is guided away from; default: 2.5.
    #[arg(long, value_name = "X")]
    negative_aesthetic_score: Option<f32>,
    /// The refiner, which takes the last steps: packages (the model's own directory may hold it), or a checkpoint.
    #[arg(long, value_name = "SOURCE", value_parser = source())]
    pub(crate) refiner: Option<Source>,
    /// The share of the noise schedule at which the refiner takes over; default: 0.8.
    #[arg(long, value_name = "X", requires = "refiner")]
    pub(crate) refiner_start: Option<f64>,
}

impl XlArgs {
    /// What the model is told beside the prompt.
    pub(crate) const fn conditions(&self) -> Conditions {
        Conditions {
            original_size: self.original_size,
            crop: self.crop,
            target_size: self.target_size,
            aesthetic_score: self.aesthetic_score,
        }
    }

    /// What it is told beside the negative prompt.
    pub(crate) const fn negative_conditions(&self) -> Conditions {
        Conditions {
            original_size: self.negative_original_size,
            crop: self.negative_crop,
            target_size: self.negative_target_size,
            aesthetic_score: self.negative_aesthetic_score,
        }
    }
}
