//! Stable Diffusion pipelines: tokenizer, schedulers, random sources, images, and the [`Engine`] trait.
//!
//! ```
//! use sd_runtime::rng::{NumpyRandom, RandomSource};
//! use sd_runtime::scheduler::{SchedulerConfig, SchedulerKind};
//!
//! # fn main() -> sd_runtime::Result<()> {
//! let mut source = NumpyRandom::new(93);
//! let (clean, noise) = (vec![0.25; 16], source.normals_f32(16));
//! let mut walk = SchedulerConfig::stable_diffusion().build(Some(SchedulerKind::EulerDiscrete), 20)?;
//! let mut sample = noise.clone();
//! walk.start(Some(&clean), &mut sample);
//! for step in 0..walk.timesteps().len() {
//!     // A model that always knows the noise leads back to the clean sample.
//!     walk.step(step, &noise, &mut sample, &mut source)?;
//! }
//! assert!(sample.iter().all(|x| (x - 0.25).abs() < 1e-4));
//! # Ok(())
//! # }
//! ```
//!
//! This crate turns a prompt into a picture, given models that somebody else executes.
//! It knows models only by their [`Signature`]: nothing here knows of Burn, of MIL or of package files.
//! It reads the small files of a checkpoint (tokenizer, scheduler and preprocessor configurations) and treats them as untrusted.

mod autoencoder;
mod clean;
mod condition;
mod conditions;
mod config;
mod control;
mod denoise;
mod engine;
mod enlarge;
mod error;
mod features;
mod forecasting;
mod foreign;
pub mod image;
mod interval;
mod json;
mod models;
mod part;
pub mod pipeline;
mod pipeline_config;
mod port;
pub mod prompt;
mod request;
pub mod rng;
mod safety;
pub mod scheduler;
mod seeds;
mod skip_layers;
mod streams;
mod takes;
pub mod tokenizer;
pub mod upscale;
mod variation;
mod watch;

pub use config::ConfigWarning;
pub use engine::{Engine, EngineError, Feature, LoadWith, Loader, Residency, Shape, Signature, Tensors};
pub use error::{Result, RuntimeError};
pub use host_tensor::Stop;
pub use part::{Form, Part};
