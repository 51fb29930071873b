//! Stable Diffusion checkpoints: which networks they have, and their weights, wherever they come from.
//!
//! [`Checkpoint::open`] takes a [`Source`]; a checkpoint has [`Weights`] for each [`Role`](sd_spec::Role), mapped and never read
//! as a whole. A [`Weight`] is a tensor of a file or is computed from several, by rows and only when it is read, which is how
//! an [`Adapter`] changes them.
//!
//! ```
//! use host_tensor::HostTensor;
//! use sd_checkpoint::{Delta, Matrix, Weight};
//! let base: Weight = HostTensor::from_f32([2, 3], vec![0.0; 6]).into();
//! let (up, down) = (HostTensor::from_f32([2, 1], vec![1.0, 2.0]), HostTensor::from_f32([1, 3], vec![1.0, 10.0, 100.0]));
//! let added = Delta::matrix(Matrix::product(up, down)?, 1.0);
//! let merged = Weight::sum(base, vec![added])?.constant();
//! assert_eq!(merged.read().to_f32_vec(), [1.0, 10.0, 100.0, 2.0, 20.0, 200.0]);
//! # Ok::<(), sd_checkpoint::WeightError>(())
//! ```
//!
//! What it deliberately does not do: build networks, convert, or print.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod adapter;
mod beside;
mod checkpoint;
mod clip_skip;
mod element;
mod embedding;
mod error;
mod family;
mod files;
mod foreign;
pub mod hub;
mod json;
mod ldm;
mod lookup;
pub mod lora;
mod map;
mod pickle;
pub mod place;
mod prediction;
mod projection;
mod scaled;
mod source;
mod strided;
pub mod torch;
mod torch_script;
mod upscaler;
mod weight;
mod weights;
mod without_blocks;
mod word;
mod zip;

pub use adapter::{Adapter, Applied};
pub use checkpoint::{Checkpoint, Reading, SourcePart, WeightFile};
pub use clip_skip::ClipSkip;
pub use embedding::{Embedding, EmbeddingAsked, Embeddings, LearnedToken, LearnedVectors};
pub use error::CheckpointError;
pub use files::Variant;
pub use json::read_json;
pub use ldm::network::Averages;
pub use ldm::single::SingleFile;
pub use lora::Lora;
pub use prediction::Prediction;
pub use source::Source;
pub use upscaler::READ as UPSCALERS_READ;
pub use weight::{Delta, Joined, Matrix, Sum, View, Weight, WeightError};
pub use weights::Weights;
pub use without_blocks::WithoutBlocks;
pub use word::Word;
