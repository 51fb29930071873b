//! The third third of the UNet's weights of `sd-demo`, as bytes that mean nothing alone.

/// The part.
pub const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/part.bin"));
