//! Products of matrices in f32.

/// `[rows, terms]` times `[terms, columns]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) n_rows: usize,
    pub(super) n_columns: usize,
    pub(super) n_terms: usize,
}

/// Multiplications below which one thread is quicker than waking others.
const ALONE: usize = 1 << 20;

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The caller alone, which is one of several.
    One,
    /// As many as there are, where there is work for them.
    Any,
}

/// Adds a product to `out`, all row-major.
pub(super) fn add(size: Size, threads: Threads, out: &mut [f32], left: &[f32], right: &[f32]) {
    let Size { n_rows, n_columns, n_terms } = size;
    if n_rows == 0 || n_columns == 0 || n_terms == 0 {
        return;
    }
    let fits = out.len() >= n_rows * n_columns && left.len() >= n_rows * n_terms && right.len() >= n_terms * n_columns;
    assert!(fits, "invariant: operands and result fit their buffers");
    let parallelism = match threads == Threads::One || n_rows * n_columns * n_terms < ALONE {
        true => gemm::Parallelism::None,
        false => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: the assertion above keeps every element that the product touches inside its slice, `out` is borrowed
    // exclusively, and all strides fit `isize` because the slices do.
    #[allow(unsafe_code, reason = "the product takes pointers and strides")]
    unsafe {
        gemm::gemm(
            n_rows,
            n_columns,
            n_terms,
            out.as_mut_ptr(),
            1,
            n_columns as isize,
            true,
            left.as_ptr(),
            1,
            n_terms as isize,
            right.as_ptr(),
            1,
            n_columns as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
