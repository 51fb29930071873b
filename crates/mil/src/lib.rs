//! The Core ML Model Intermediate Language: a small, typed, validated intermediate representation.
//!
//! A [`Program`] holds functions; a [`Function`] holds a table of named, typed values and a block of
//! operations over them. Every operation is described once, in [`ops`]; the builder, the validator,
//! the printer and the engines read that description.
//! Only a [`Valid`] program may be written or run, and only [`validate`] makes one.
//!
//! The crate knows nothing of protobuf, files, Burn or diffusion.

mod builder;
mod constant;
mod ir;
mod names;
mod opset;
mod split;
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
