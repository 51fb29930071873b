//! Stable Diffusion pipelines: tokenizer, schedulers, random sources, images, and the [`Engine`] trait.
//!
//! This crate turns a prompt into a picture, given models that somebody else executes.
//! It knows models only by their [`Signature`]: nothing here knows of Burn, of MIL or of package files.
//! It reads the small files of a checkpoint (tokenizer, scheduler and preprocessor configurations) and treats them as untrusted.

mod autoencoder;
mod condition;
mod config;
mod denoise;
mod engine;
mod error;
mod foreign;
pub mod image;
mod json;
mod models;
pub mod pipeline;
mod port;
pub mod prompt;
mod request;
pub mod rng;
mod safety;
pub mod scheduler;
pub mod tokenizer;
mod watch;

pub use config::ConfigWarning;
pub use engine::{Engine, EngineError, Feature, LoadWith, Loader, Residency, Shape, Signature, Tensors};
pub use error::{Result, RuntimeError};
pub use host_tensor::Stop;
