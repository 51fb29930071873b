//! Inert tensor data: element type, shape, and shared bytes.
//!
//! The bytes are little endian, row major, and either owned or borrowed from a memory map
//! (anything that [`bytes::Bytes::from_owner`] accepts); cloning a tensor never copies them.
//! Types narrower than a byte are packed least significant bit first, as Core ML stores them.
//! The crate converts between element types, and deliberately knows no arithmetic and no files.
//! [`Stop`] lies here too, for every crate that computes with tensors can name it.

mod dtype;
mod exceptions;
mod packed;
mod round;
mod stop;
mod strips;
mod tensor;

pub use bytes::Bytes;
pub use dtype::DType;
pub use exceptions::Exceptions;
pub use half::{bf16, f16};
pub use packed::{pack_bits, unpack_bits, unpack_bits_at};
pub use round::f16_from_f64;
pub use stop::Stop;
pub use tensor::{HostTensor, TensorError, convert_bytes, from_singles, to_singles};

/// Number of elements of a tensor of this shape, or `None` when it does not fit in `usize`.
///
/// A shape without dimensions is a scalar and has one element.
#[must_use]
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
