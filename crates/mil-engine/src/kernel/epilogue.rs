//! What happens to the sums of a product before they are stored.
//!
//! ```text
//! y = activation(scale · (sum + bias) + per_batch + residual)        or, gated,  y = value · activation(gate)
//! ```

use super::{math::Activation, simd::Simd};

/// Where the extra operands lie, and what is done with them. Pointers may be null where a step is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue {
    /// A number for each column.
    pub(crate) bias: *const f32,
    /// Factor of the sum with its bias.
    pub(crate) scale: f32,
    /// A number for each batch and column.
    pub(crate) per_batch: *const f32,
    /// Floats from one batch of `per_batch` to the next.
    pub(crate) batch_stride: usize,
    /// Rows of a batch.
    pub(crate) rows_per_batch: usize,
    /// A number for each row and column.
    pub(crate) residual: *const f32,
    /// Floats from one row of `residual` to the next.
    pub(crate) residual_row: usize,
    /// Applied last.
    pub(crate) activation: Activation,
}

impl Epilogue {
    /// Nothing is done.
    pub(crate) const NONE: Self = Self {
        bias: std::ptr::null(),
        scale: 1.0,
        per_batch: std::ptr::null(),
        batch_stride: 0,
        rows_per_batch: usize::MAX,
        residual: std::ptr::null(),
        residual_row: 0,
        activation: Activation::Identity,
    };

    /// Writes `n` results of one row, of columns `col..`, whose sums stand at `sums`.
    ///
    /// # Safety
    /// The instruction set exists; operands hold `row` and the columns, and `out` has room for `n`.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(&self, sums: *const f32, row: usize, col: usize, n: usize, out: *mut f32) {
        // SAFETY: the caller's contract; null pointers stay null and are not read.
        unsafe {
            let per_batch = if self.per_batch.is_null() {
                self.per_batch
            } else {
                self.per_batch.add(row / self.rows_per_batch * self.batch_stride + col)
            };
            let bias = if self.bias.is_null() { self.bias } else { self.bias.add(col) };
            let residual =
                if self.residual.is_null() { self.residual } else { self.residual.add(row * self.residual_row + col) };
            let mut i = 0;
            while i < n {
                let left = n - i;
                let get = |p: *const f32| {
                    if left >= S::LANES { S::load(p.add(i)) } else { S::load_n(p.add(i), left) }
                };
                let mut v = get(sums);
                if !bias.is_null() {
                    v = S::add(v, get(bias));
                }
                if self.scale != 1.0 {
                    v = S::mul(v, S::splat(self.scale));
                }
                if !per_batch.is_null() {
                    v = S::add(v, get(per_batch));
                }
                if !residual.is_null() {
                    v = S::add(v, get(residual));
                }
                v = self.activation.apply::<S>(v);
                if left >= S::LANES {
                    S::store(out.add(i), v)
                } else {
                    S::store_n(out.add(i), v, left)
                }
                i += S::LANES;
            }
        }
    }

    /// Writes `n` gated results: `(values + bias) · activation(gates + bias at gate_col)`.
    ///
    /// # Safety
    /// As [`Epilogue::store`], for both sets of columns.
    #[inline(always)]
    pub(crate) unsafe fn store_gated<S: Simd>(
        &self,
        [values, gates]: [*const f32; 2],
        [col, gate_col]: [usize; 2],
        n: usize,
        out: *mut f32,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            let mut i = 0;
            while i < n {
                let left = n - i;
                let get = |p: *const f32| {
                    if left >= S::LANES { S::load(p.add(i)) } else { S::load_n(p.add(i), left) }
                };
                let (mut v, mut g) = (get(values), get(gates));
                if !self.bias.is_null() {
                    v = S::add(v, get(self.bias.add(col)));
                    g = S::add(g, get(self.bias.add(gate_col)));
                }
                let y = S::mul(v, self.activation.apply::<S>(g));
                if left >= S::LANES {
                    S::store(out.add(i), y)
                } else {
                    S::store_n(out.add(i), y, left)
                }
                i += S::LANES;
            }
        }
    }
}
