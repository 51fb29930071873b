//! Stable Diffusion on any machine: what the command line and every other client of Smelt share.
//!
//! What it deliberately does not do: read arguments, print, or know of a terminal.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod bundle;
pub mod demo;
mod error;
mod file;
pub mod fit;
pub mod half_precision;
pub mod model_dir;
pub mod owner;
pub mod sheet;
pub mod tensor_file;
mod units;
pub mod watch;
pub mod weights_report;

pub use error::Error;
pub use file::read_picture;
pub use units::{bytes, count, decibels, seconds};
