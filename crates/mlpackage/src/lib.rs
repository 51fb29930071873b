//! Reads and writes Core ML packages.
//!
//! This is the only crate that knows the fields of the model file and the offsets of `weight.bin`.
//! It knows nothing of Burn or of diffusion, and does not judge whether a program makes sense: `mil` does.

mod atomic;
mod blob;
mod error;
mod manifest;

pub use atomic::Existing;
pub use blob::{Blob, BlobFile, BlobSink, BlobWriter};
pub use error::{BlobFault, Error, ManifestFault, ModelFault};
pub use manifest::{Item, MANIFEST_FILE, Manifest};
