//! Runs MIL programs on the CPU.
//!
//! [`cpu`] is the fast engine: a plan of fused steps, kernels for the machine's instruction set, weights decoded while
//! they are multiplied.
//! [`mod@reference`] is the plain one: every operation by its definition, in `f32`, as the oracle for
//! passes, compression and faster engines.
//! The crate takes programs that came from outside; a program that validates but cannot run gives a named
//! [`EngineError`], never a panic.
//! It knows nothing of files, Burn or diffusion.
//!
//! ```
//! use host_tensor::{DType, HostTensor, Stop};
//! use mil::{FunctionBuilder, Opset, Type};
//! use mil_engine::{EngineError, cpu, reference};
//! use std::collections::BTreeMap;
//!
//! let mut b = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = b.input("x", Type::tensor(DType::F32, &[3]));
//! let mut e = b.emitter();
//! let y = e.op("relu", "y", [("x", x.into())])?;
//! let ops = e.into_ops();
//! let program = b.finish_program(ops, &[y]);
//! let valid = mil::validate(&program)?;
//!
//! let fast = cpu::Cpu::compile(valid, cpu::Options::default())?;
//! let plain = reference::Reference::compile(valid, reference::Options::default())?;
//! let inputs = BTreeMap::from([("x".to_string(), HostTensor::from_f32([3], vec![-1.0, 0.0, 2.0]))]);
//! assert_eq!(fast.run(&inputs, &Stop::never())?, plain.run(&inputs, &Stop::never())?);
//!
//! // Whoever holds a clone may ask a run to stop, from another thread too.
//! let stop = Stop::new();
//! stop.set();
//! assert_eq!(fast.run(&inputs, &stop), Err(EngineError::Stopped));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cpu;
mod error;
mod kernel;
pub mod reference;

pub use error::{EngineError, OpFault, OpSite};
pub use kernel::{Isa, UnknownIsa};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
