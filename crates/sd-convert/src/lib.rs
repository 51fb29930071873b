//! Converts Stable Diffusion checkpoints to Core ML models.
//!
//! [`Checkpoint`] maps a diffusers directory, [`convert`] makes a model of one component, and
//! [`mlpackage`] writes it. One recipe per component says what its model takes and gives; the networks are
//! those of `sd-models`, the rewrites those of [`mil::pass`].
//!
//! What it deliberately does not do: change weights beyond the chosen precision, draw pictures, or print.

mod check;
mod checkpoint;
mod chunk;
pub mod compress;
mod convert;
mod error;
mod exceptional;
pub mod half;
pub mod hub;
mod interface;
mod options;
pub mod place;
mod recipe;
mod sizes;
pub mod verify;
mod weights;

pub use check::check;
pub use checkpoint::{Checkpoint, read_json};
pub use chunk::{Chunk, chunk};
pub use convert::{Converted, convert};
pub use error::ConvertError;
pub use exceptional::Exceptional;
pub use half::{HalfCheck, OnOverflow, convert_checked};
pub use interface::Interface;
pub use mil::pass::AttentionLayout;
pub use options::{LatentSize, Options, Precision, Target, package_name};
pub use recipe::native_size;
pub use sd_models::{NetworkConfig, Role};
pub use sizes::{check_sizes, convert_sizes, has_functions, has_sizes, size_function};
pub use weights::{Variant, Weights};
