//! The reference engine: every operation by its definition.
//!
//! It is meant to be right first: arithmetic in `f32`, sums over many elements in `f64`, no fusion, no
//! reordering of operations. Matrix products go through the `gemm` crate and long loops over several
//! threads, so that models of real size are feasible.
//! It frees every intermediate after its last use and reads constants when they are first needed.
//!
//! ```
//! use host_tensor::{DType, HostTensor, Stop};
//! use mil::{FunctionBuilder, Opset, Type};
//! use mil_engine::reference::{Options, Reference};
//! use std::collections::BTreeMap;
//!
//! let mut b = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = b.input("x", Type::tensor(DType::F32, &[3]));
//! let mut e = b.emitter();
//! let y = e.op("relu", "y", [("x", x.into())])?;
//! let ops = e.into_ops();
//! let program = b.finish_program(ops, &[y]);
//!
//! let engine = Reference::compile(mil::validate(&program)?, Options::default())?;
//! let inputs = BTreeMap::from([("x".to_string(), HostTensor::from_f32([3], vec![-1.0, 0.0, 2.0]))]);
//! assert_eq!(engine.run(&inputs, &Stop::never())?["y"].to_f32_vec(), [0.0, 0.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
#[cfg(test)]
mod agreement;
mod attention;
mod broadcast;
mod call;
mod constants;
mod constexpr;
mod control_flow;
mod conv;
mod elementwise_binary;
mod elementwise_unary;
mod engine;
mod families;
mod gather_scatter;
mod generation;
mod invoke;
mod kernels;
mod layout;
mod linear_algebra;
mod normalization;
mod options;
mod plan;
mod pool;
mod product;
mod quantization;
mod rearrange;
mod recurrent;
mod reduction;
mod resize;
mod run;
mod shape;
mod slice;
mod state;
#[cfg(test)]
mod testing;
mod value;
mod watch;
mod window;

pub(crate) use call::{axis, index};
pub use engine::{Feature, Reference};
pub(crate) use layout::{Odometer, strides_of};
pub use options::{Options, Rounding, Weights};
pub(crate) use run::Run;
pub(crate) use slice::slice;
pub use state::States;
pub(crate) use value::Tensor;
pub use watch::{Cause, NonFinite};

#[cfg(test)]
mod tests;
