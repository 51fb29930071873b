//! Stable Diffusion pipelines: tokenizer, schedulers, random sources, images, and the [`Engine`] trait.
//!
//! This crate turns a prompt into a picture, given models that somebody else executes.
//! It knows models only by their [`Signature`]: nothing here knows of Burn, of MIL or of package files.
//! It reads the small files of a checkpoint (tokenizer, scheduler and preprocessor configurations) and treats them as untrusted.

mod config;
mod engine;
mod error;
pub mod image;
mod json;
pub mod pipeline;
pub mod rng;
pub mod scheduler;
pub mod tokenizer;

pub use config::ConfigWarning;
pub use engine::{Engine, EngineError, Feature, LoadWith, Loader, Residency, Shape, Signature, Tensors};
pub use error::{Result, RuntimeError};
pub use host_tensor::Stop;
