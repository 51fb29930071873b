//! Measures what each way to store each weight of a MIL program costs at the program's outputs.
//!
//! An [`Analyser`] cuts a function into parts of about the same work ([`mod@mil::split`]). A [`Session`] runs them once on
//! some inputs, with all weights as they are, and keeps what crosses from part to part. For one weight it then
//! - runs the operation that reads it alone, on what that was given, with every scheme: the *local* error;
//! - for the schemes that are to be measured, runs the part that has the weight and those behind it, and compares the
//!   outputs: on average half of a run.
//!
//! What the other schemes cost follows from the local errors ([`estimate`]): as long as a change is small, the error at
//! the outputs is to the local error as it is for the scheme that was measured.
//!
//! A [`Calibrator`] runs a function part by part and tells what each weight is multiplied by, for a compression that chooses
//! codes by it ([`mil_compress::compress_with`]).
//!
//! The results depend on the inputs and on the instruction set, not on threads or time. What this crate deliberately
//! does not know: files, which weights to compress for a size, diffusion.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod analyser;
mod calibrator;
mod error;
mod estimate;
mod parts;
mod session;
#[cfg(test)]
mod tests;
mod trial;
mod work;

pub use analyser::{Analyser, Candidate, Options};
pub use calibrator::{Calibrator, STATISTICS_BYTES};
pub use error::SensitivityError;
pub use estimate::{Errors, estimate};
pub use session::{Clean, Measured, Session};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
