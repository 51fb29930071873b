//! Runs MIL programs on the CPU.
//!
//! [`mod@reference`] is the plain engine: every operation by its definition, in `f32`, as the oracle for
//! passes, compression and faster engines.
//! The crate takes programs that came from outside; a program that validates but cannot run gives a named
//! [`EngineError`], never a panic.
//! It knows nothing of files, Burn or diffusion.

mod error;
pub mod reference;

pub use error::{EngineError, OpFault, OpSite};
