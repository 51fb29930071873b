//! Activations of 8 bits: what convolutions, linear layers and products of attention read becomes integers.
//!
//! ```text
//! %y = conv(x=%x, weight=W)   ==>   %x_quantized = quantize(input=%x, scale=s, output_dtype="int8")
//!                                   %x_dequantized = dequantize(input=%x_quantized, scale=s)
//!                                   %y = conv(x=%x_dequantized, weight=W)
//! ```
//!
//! That is Core ML's form from iOS 17 on: a system that has integer arithmetic fuses the three into a product of integers
//! where the weight is integers too, and every other computes what the text says.
//! Which operations qualify is the table in [`operations`]; what values they read lie between is seen by whoever runs the
//! program, in [`Magnitudes`]; a [`RangeRule`] makes a scale of it, and [`quantize_activations`] puts them in.
//! Running programs, and choosing among operations, is not done here; nor are weights, which have schemes of their own.

mod magnitudes;
mod operations;
mod range;
mod rewrite;

pub use magnitudes::Magnitudes;
pub use operations::{Operand, QuantizableOp, WorkKind, n_fused_attentions, quantizable};
pub use range::{RangeRule, UnknownRange, scale_of};
pub use rewrite::{Limits, quantize_activations};
