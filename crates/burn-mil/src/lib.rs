//! Any Burn module becomes a MIL program.
//!
//! [`Lowering`] runs a module's `forward` on Burn's capture device, which records operations instead of
//! executing them, and lowers each recorded operation through MIL's builder.
//! Weights never pass through Burn: each parameter becomes a view of bytes that the caller resolves by the
//! parameter's path in the module.
//!
//! ```text
//! module.forward ─▶ capture ─▶ GraphIr ─▶ plan (live operations, linear layers) ─▶ lower ─▶ mil::Function
//!                                ▲ ids of parameters, by path                       ▲ Const, by path
//! ```
//!
//! What is lowered, how, and from where it came are three questions with three answers:
//! - every float tensor is `fp32`, every integer `int32`; another precision is a MIL pass;
//! - the type that MIL infers for each result is compared with the shape and element type that Burn
//!   recorded, in release builds too;
//! - each operation carries the path of the parameter it reads, or of its nearest producer that reads one.
//!
//! What the crate deliberately does not do: fuse (MIL's passes do; only linear layers are put together here,
//! because Burn takes them apart in ways that only the recording shows), choose layouts, or know which model
//! it is given.

mod capture;
mod error;
mod lower;
mod parameters;
mod plan;
mod statics;
mod types;

pub use capture::{Inputs, Lowering, Outputs};
pub use error::LowerError;
