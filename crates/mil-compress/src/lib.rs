//! Compresses the weights of MIL programs: palettization by exact k-means, linear quantization, pruning, and their
//! combinations, in the encodings of iOS 16 and iOS 18.
//!
//! A [`Config`] says what the user wants; a [`Plan`] decides it for every weight of a program, with all errors before any
//! work; [`compress`] reads, compresses and stores the weights and rewrites the program.
//! For one weight, a [`Scheme`] says what happens, and [`encode()`] makes an [`Encoded`] of it.
//! Where it is known what weights are multiplied by ([`Calibration`]), [`compress_with`] chooses codes whose errors cancel.
//! This is the only crate that changes weights lossily. It knows nothing of files, Burn or diffusion.
//!
//! ```
//! use mil::{Const, DType, FunctionBuilder, HostTensor, Opset, Type, validate};
//! use mil_compress::{Config, Memory, Plan, compress};
//! use std::ops::ControlFlow;
//!
//! let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = builder.input("x", Type::tensor(DType::F32, &[1, 64]));
//! let mut emitter = builder.emitter();
//! let weight = HostTensor::from_f32([32, 64], (0..2048u16).map(|i| f32::from(i % 61)).collect());
//! let weight = emitter.constant("weight", Const::new(weight).into());
//! let y = emitter.op("linear", "y", [("x", x.into()), ("weight", weight.into())])?;
//! let ops = emitter.into_ops();
//! let program = builder.finish_program(ops, &[y]);
//!
//! let plan = Plan::new(&program, &Config { min_elements: 1000, ..Config::palettes(6) })?;
//! let go_on = &mut |_: mil_compress::Progress| ControlFlow::Continue(());
//! let (compressed, outcome) = compress(&program, &plan, &mut Memory::default(), false, go_on)?;
//! assert_eq!(outcome.compressed.len(), 1);
//! assert!(validate(&compressed).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activations;
pub mod assign;
mod calibrated;
mod choose;
mod config;
mod decode;
mod decompress;
mod describe;
mod encode;
mod encoded;
mod error;
mod estimate;
mod kmeans;
mod layout;
mod loss;
mod lower;
mod making;
mod outline;
mod palettize;
mod prune;
mod quantize;
mod rewrite;
mod run;
mod scheme;
mod select;
mod store;

pub use activations::{
    Limits, Magnitudes, Operand, QuantizableOp, RangeRule, UnknownRange, WorkKind, n_fused_attentions, quantizable,
    quantize_activations, scale_of,
};
pub use calibrated::{Calibrated, Calibration, Statistics, encode_with};
pub use choose::PlannedWeight;
pub use config::{Config, Name};
pub use describe::{StoredWeight, stored_weights};
pub use encode::encode;
pub use encoded::{Affine, Encoded, Lut, NonZero};
pub use error::CompressError;
pub use loss::Loss;
pub use run::{Compressed, Kept, Outcome, Progress, RunError, compress, compress_with};
pub use scheme::{Axes, Blocks, Named, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, Scheme, UnknownScheme};
pub use select::Plan;
pub use store::{Memory, Store};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
