//! Runs MIL programs on the CPU.
//!
//! [`cpu`] is the fast engine: a plan of fused steps, kernels for the machine's instruction set, weights decoded while
//! they are multiplied.
//! [`mod@reference`] is the plain one: every operation by its definition, in `f32`, as the oracle for
//! passes, compression and faster engines.
//! The crate takes programs that came from outside; a program that validates but cannot run gives a named
//! [`EngineError`], never a panic.
//! It knows nothing of files, Burn or diffusion.

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
