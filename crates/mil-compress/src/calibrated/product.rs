//! Matrix products, through the `gemm` crate.

/// A matrix as a view.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    /// Elements from one row to the next.
    row: usize,
    /// Elements from one column to the next.
    column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that begin `step` apart.
    pub(crate) const fn rows(data: &'a [f32], step: usize) -> Self {
        Self { data, row: step, column: 1 }
    }

    /// The same, turned: what lies one after another is a column.
    pub(crate) const fn columns(data: &'a [f32], step: usize) -> Self {
        Self { data, row: 1, column: step }
    }
}

/// `out += factor · a · b`, where `a` is m×k, `b` is k×n, and the rows of `out` begin so many elements apart.
///
/// # Panics
/// When a matrix is smaller than that.
pub(crate) fn add_product(
    (m, n, k): (usize, usize, usize),
    (out, step): (&mut [f32], usize),
    factor: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(n <= step && out.len() >= (m - 1) * step + n, "invariant: the product has room");
    assert!(a.data.len() > (m - 1) * a.row + (k - 1) * a.column, "invariant: the left matrix is whole");
    assert!(b.data.len() > (k - 1) * b.row + (n - 1) * b.column, "invariant: the right matrix is whole");
    // SAFETY: the assertions say that all elements lie in their slices, and rows of `out` do not overlap; `out` is borrowed
    // mutably, so that it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            step as isize,
            true,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
