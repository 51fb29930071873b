//! Copies of two-dimensional blocks with any strides.

use super::simd::Simd;

/// Writes `dst[r][c] = src[r][c]` for `rows × cols` elements, `dst` with contiguous columns.
///
/// # Safety
/// The instruction set exists; both sides hold the block as their strides say.
#[inline(always)]
pub(crate) unsafe fn gather<S: Simd>(
    src: *const f32,
    [row, col]: [usize; 2],
    [rows, cols]: [usize; 2],
    dst: *mut f32,
    dst_row: usize,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if col == 1 {
            for r in 0..rows {
                copy::<S>(src.add(r * row), dst.add(r * dst_row), cols);
            }
            return;
        }
        let (mut whole_rows, mut whole_cols) = (0, 0);
        if row == 1 {
            // Columns are contiguous in the source: square blocks are turned.
            whole_rows = rows / S::LANES * S::LANES;
            whole_cols = cols / S::LANES * S::LANES;
            for r in (0..whole_rows).step_by(S::LANES) {
                for c in (0..whole_cols).step_by(S::LANES) {
                    S::transpose(src.add(r + c * col), col, dst.add(r * dst_row + c), dst_row);
                }
            }
        }
        for r in 0..rows {
            let from = if r < whole_rows { whole_cols } else { 0 };
            for c in from..cols {
                *dst.add(r * dst_row + c) = *src.add(r * row + c * col);
            }
        }
    }
}

/// Copies `n` floats.
///
/// # Safety
/// The instruction set exists; both sides hold `n` floats and do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy<S: Simd>(src: *const f32, dst: *mut f32, n: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let whole = n / S::LANES * S::LANES;
        let mut i = 0;
        while i < whole {
            S::store(dst.add(i), S::load(src.add(i)));
            i += S::LANES;
        }
        for i in whole..n {
            *dst.add(i) = *src.add(i);
        }
    }
}
