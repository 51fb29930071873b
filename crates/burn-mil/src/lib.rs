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
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn_mil::{Lowering, Outputs};
//! use mil::{Const, DType, HostTensor, Opset};
//!
//! let function = Lowering::new("main", Opset::CoreML6)
//!     .input("x", DType::F32, &[1, 3])
//!     .lower(
//!         |device| LinearConfig::new(3, 2).init(device),
//!         // The checkpoint has [out, in]; the module wants [in, out]: a view, no copy.
//!         |path| match path {
//!             "weight" => Const::new(HostTensor::from_f32([2, 3], vec![0.5; 6])).transpose(&[1, 0]).ok(),
//!             "bias" => Some(Const::new(HostTensor::from_f32([2], vec![1.0; 2]))),
//!             _ => None,
//!         },
//!         |linear: &Linear, inputs| {
//!             let x = inputs.float::<2>("x")?;
//!             Outputs::new().float("y", linear.forward(x))
//!         },
//!     )?;
//! assert_eq!(function.body.ops[0].kind, "linear");
//! # Ok::<(), burn_mil::LowerError>(())
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
mod recording;
mod statics;
mod types;

pub use capture::{Inputs, Lowering, Outputs};
pub use error::LowerError;
