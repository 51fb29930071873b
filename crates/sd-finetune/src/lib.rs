//! Palettes learned by training: differentiable k-means for any network of `sd-models`, on Burn's automatic differentiation.
//!
//! A [`Tuner`] has a network and what is trained of it, a [`Recipe`] says how, [`Data`] are the inputs that it learns from,
//! and [`Tuner::run`] takes all steps; targets are what the network gives with its own weights.
//! A step computes every weight from its elements and palettes, has Burn run the network forward and backward, and takes the
//! gradient of each weight back to elements and palettes in closed form.
//! [`Tuner::export`] writes a checkpoint whose weights have the values of their palettes and no others.
//!
//! What it deliberately does not do: draw, convert, or print.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod adam;
mod data;
mod distinct;
mod error;
mod exp;
mod export;
mod network;
mod palettized;
mod recipe;
mod run;
mod soft;
mod state;
mod tuner;

pub use data::Data;
pub use error::FinetuneError;
pub use network::{Samples, Trained, build};
pub use recipe::{Rates, Recipe};
pub use run::Progress;
pub use tuner::Tuner;
