//! The Core ML Model Intermediate Language: a small, typed, validated intermediate representation.
//!
//! A [`Program`] holds functions; a [`Function`] holds a table of named, typed values and a block of
//! operations over them. Every operation is described once, in [`ops`]; the builder, the validator,
//! the printer and the engines read that description.
//! Only a [`Valid`] program may be written or run, and only [`validate`] makes one.
//!
//! ```
//! use mil::{DType, FunctionBuilder, Opset, Type, pass, text, validate};
//!
//! let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = builder.input("x", Type::tensor(DType::F32, &[2, 3]));
//! let mut emitter = builder.emitter();
//! let gate = emitter.op("sigmoid", "gate", [("x", x.into())])?;
//! let y = emitter.op("mul", "y", [("x", x.into()), ("y", gate.into())])?;
//! let ops = emitter.into_ops();
//! let mut program = builder.finish_program(ops, &[y]);
//!
//! pass::tidy(program.functions.get_mut("main").ok_or("no function")?)?;
//! assert!(validate(&program).is_ok());
//! assert!(text::print(&program, &text::PrintOptions::default()).text.contains("silu(x = x)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate knows nothing of protobuf, files, Burn or diffusion.

mod builder;
mod constant;
mod ir;
mod names;
mod opset;
pub mod split;
mod types;
mod validate;

pub mod ops;
pub mod pass;
pub mod text;

pub use builder::{Bound, Emitter, FunctionBuilder};
pub use constant::{BlobLocation, Compute, Const, ConstError, Literal, SourceId};
pub use host_tensor::{Bytes, DType, HostTensor};
pub use ir::{Arg, Block, Function, Inputs, Op, Program, Value, ValueId};
pub use names::{is_identifier, sanitize};
pub use ops::OpError;
pub use opset::Opset;
pub use split::{SplitError, split};
pub use types::{Dim, TensorType, Type};
pub use validate::{Fault, FaultKind, Faults, OpPlace, Valid, validate};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
