//! How fast the machine multiplies and adds when nothing else limits it.

use super::simd::{Simd, Tile};

/// Length of the sums.
const DEPTH: usize = 128;

/// Floating-point operations of one round.
pub(crate) const fn flops<S: Simd>() -> usize {
    2 * S::MR * S::NR * DEPTH
}

/// Computes `rounds` product tiles from the same operands, which lie in the first-level cache.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
pub(crate) unsafe fn peak<S: Simd>(rounds: usize) {
    let a = [1.0f32; 16 * DEPTH];
    let b = [0.5f32; 32 * DEPTH];
    let mut c = [0.0f32; 16 * 32];
    let t = Tile {
        k: DEPTH,
        a: a.as_ptr(),
        a_row: DEPTH,
        a_k: 1,
        b: b.as_ptr(),
        c: c.as_mut_ptr(),
        c_row: S::NR,
        add: false,
    };
    for _ in 0..rounds {
        // SAFETY: the caller's contract; the operands hold a whole tile of every instruction set.
        unsafe { S::tile(S::MR, &t) };
        std::hint::black_box(&c);
    }
}
