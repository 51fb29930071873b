//! Matrix products, through the `gemm` crate.

use host_tensor::Stop;
use rayon::prelude::*;

/// A matrix in a buffer: element (i, j) is at `i·row_step + j·column_step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row_step: usize,
    pub(super) column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    pub(super) const fn rows(data: &'a [f32], columns: usize) -> Self {
        Self { data, row_step: columns, column_step: 1 }
    }

    /// The transposed matrix.
    pub(super) const fn transposed(self) -> Self {
        Self { data: self.data, row_step: self.column_step, column_step: self.row_step }
    }

    /// The matrix that begins `offset` elements later.
    pub(super) fn at(self, offset: usize) -> Self {
        Self { data: &self.data[offset..], ..self }
    }

    fn reaches(&self, rows: usize, columns: usize) -> usize {
        (rows - 1) * self.row_step + (columns - 1) * self.column_step
    }
}

/// The sizes of a product: `m`×`k` times `k`×`n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

/// How many threads one product may use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Threads {
    /// The caller's only.
    One,
    /// All of the pool.
    All,
}

/// `out = a·b`; row `i` of `out` begins at `i·out_step`.
///
/// # Panics
/// When a matrix is larger than its buffer, which is the caller's invariant.
pub(super) fn multiply(sizes: Sizes, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], out_step: usize, threads: Threads) {
    let Sizes { m, n, k } = sizes;
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * out_step + n <= out.len(), "invariant: the result fits its buffer");
    if k == 0 {
        (0..m).for_each(|i| out[i * out_step..][..n].fill(0.0));
        return;
    }
    assert!(a.reaches(m, k) < a.data.len() && b.reaches(k, n) < b.data.len(), "invariant: operands fit their buffers");
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: the assertions above keep every element that the product touches inside its slice, `out` is
    // borrowed exclusively, and all strides fit `isize` because the slices do.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_step as isize,
            false,
            a.data.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.data.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Many products of one size, the results one after another, until `stop` is set; `operands` says where each begins.
pub(super) fn multiply_batch<'a>(
    sizes: Sizes,
    out: &mut [f32],
    stop: &Stop,
    operands: impl Fn(usize) -> (Matrix<'a>, Matrix<'a>) + Sync,
) {
    let each = sizes.m * sizes.n;
    if each == 0 {
        return;
    }
    if out.len() / each >= rayon::current_num_threads() {
        out.par_chunks_mut(each).enumerate().filter(|_| !stop.is_set()).for_each(|(i, out)| {
            let (a, b) = operands(i);
            multiply(sizes, a, b, out, sizes.n, Threads::One);
        });
    } else {
        for (i, out) in out.chunks_mut(each).enumerate().take_while(|_| !stop.is_set()) {
            let (a, b) = operands(i);
            multiply(sizes, a, b, out, sizes.n, Threads::All);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_transposed_operands_is_right() {
        // a = [[1, 2], [3, 4], [5, 6]] stored by columns, b = [[1, 0], [10, 1]] stored by rows.
        let a = Matrix::rows(&[1., 3., 5., 2., 4., 6.], 3).transposed();
        let b = Matrix::rows(&[1., 0., 10., 1.], 2);
        let mut out = [f32::NAN; 8];
        multiply(Sizes { m: 3, n: 2, k: 2 }, a, b, &mut out, 3, Threads::One);
        assert_eq!([out[0], out[1], out[3], out[4], out[6], out[7]], [21., 2., 43., 4., 65., 6.]);
        assert!(out[2].is_nan() && out[5].is_nan(), "gaps between rows stay as they are");
    }

    #[test]
    fn an_empty_sum_is_zero() {
        let mut out = [7.0; 4];
        let none = Matrix::rows(&[], 0);
        multiply(Sizes { m: 2, n: 2, k: 0 }, none, none, &mut out, 2, Threads::All);
        assert_eq!(out, [0.0; 4]);
    }
}
