//! Converts Stable Diffusion checkpoints to Core ML models.
//!
//! [`convert`] makes a model of one role of a [`Checkpoint`], and [`mlpackage`] writes it. What a role's model takes and
//! gives is `sd-spec`'s, the networks are those of `sd-models`, the rewrites those of [`mil::pass`].
//!
//! What it deliberately does not do: change weights beyond the chosen precision, draw pictures, or print.

mod check;
mod chunk;
pub mod compress;
mod convert;
mod error;
mod exceptional;
pub mod half;
mod interface;
mod layers;
mod options;
pub mod quantize;
mod recipe;
mod shapes;
pub mod verify;

pub use check::check;
pub use chunk::{Chunk, chunk};
pub use convert::{Converted, convert};
pub use error::ConvertError;
pub use exceptional::Exceptional;
pub use half::{HalfCheck, OnOverflow, convert_checked};
pub use interface::Interface;
pub use layers::LayerNames;
pub use mil::pass::AttentionLayout;
pub use options::{Batch, Beginning, LatentSize, Options, Precision, Target, package_name};
pub use recipe::{native_size, text_length};
pub use sd_checkpoint::Checkpoint;
pub use sd_models::{Facts, NetworkConfig};
pub use sd_spec::Role;
pub use shapes::{Shape, Shapes, convert_shapes, functions_of_size, has_functions, has_sizes};
