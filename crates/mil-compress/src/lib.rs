//! Compresses the weights of MIL programs: palettization by exact k-means, linear quantization, pruning, and their
//! combinations, in the encodings of iOS 16 and iOS 18.
//!
//! A [`Scheme`] says what happens to one weight, an [`Encoded`] is what comes of it.
//! This is the only crate that changes weights lossily. It knows nothing of files, Burn or diffusion.

mod decode;
mod encode;
mod encoded;
mod error;
mod kmeans;
mod layout;
mod loss;
mod palettize;
mod prune;
mod quantize;
mod scheme;

pub use encode::encode;
pub use encoded::{Affine, Encoded, Lut, NonZero};
pub use error::CompressError;
pub use loss::Loss;
pub use scheme::{Axes, Blocks, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, Scheme};
