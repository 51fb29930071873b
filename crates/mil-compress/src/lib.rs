//! Compresses the weights of MIL programs: palettization by exact k-means, linear quantization, pruning, and their
//! combinations, in the encodings of iOS 16 and iOS 18.
//!
//! A [`Config`] says what the user wants; a [`Plan`] decides it for every weight of a program, with all errors before any
//! work; [`compress`] reads, compresses and stores the weights and rewrites the program.
//! For one weight, a [`Scheme`] says what happens, and [`encode()`] makes an [`Encoded`] of it.
//! This is the only crate that changes weights lossily. It knows nothing of files, Burn or diffusion.

mod config;
mod decode;
mod decompress;
mod describe;
mod encode;
mod encoded;
mod error;
mod kmeans;
mod layout;
mod loss;
mod lower;
mod palettize;
mod prune;
mod quantize;
mod rewrite;
mod run;
mod scheme;
mod select;
mod store;

pub use config::{Config, Name};
pub use describe::{StoredWeight, stored_weights};
pub use encode::encode;
pub use encoded::{Affine, Encoded, Lut, NonZero};
pub use error::CompressError;
pub use loss::Loss;
pub use run::{Compressed, Kept, Outcome, Progress, RunError, compress};
pub use scheme::{Axes, Blocks, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, Scheme};
pub use select::Plan;
pub use store::{Memory, Store};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
