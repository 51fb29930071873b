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
    #[cfg(test)]
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

    /// Writes `rows × n` results, from row `row` and column `col` on, whose sums stand at `sums`.
    ///
    /// # Safety
    /// The instruction set exists; operands hold the rows and columns, and `out` has room.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(
        &self,
        (sums, sums_row): (*const f32, usize),
        (row, rows): (usize, usize),
        (col, n): (usize, usize),
        (out, out_row): (*mut f32, usize),
    ) {
        // The activation is chosen outside of the loops, so that each loop holds one.
        macro_rules! each {
            ($($activation:pat => $value:expr),* $(,)?) => {
                match self.activation {
                    // SAFETY: the caller's contract.
                    $($activation => unsafe {
                        self.store_as::<S>($value, (sums, sums_row), (row, rows), (col, n), (out, out_row))
                    },)*
                }
            };
        }
        each! {
            Activation::Identity => Activation::Identity,
            Activation::LeakyRelu(a) => Activation::LeakyRelu(a),
            Activation::Silu => Activation::Silu,
            Activation::Gelu => Activation::Gelu,
            Activation::Swish(a) => Activation::Swish(a),
            other => other,
        }
    }

    /// # Safety
    /// As [`Epilogue::store`].
    #[inline(always)]
    unsafe fn store_as<S: Simd>(
        &self,
        activation: Activation,
        (sums, sums_row): (*const f32, usize),
        (row, rows): (usize, usize),
        (col, n): (usize, usize),
        (out, out_row): (*mut f32, usize),
    ) {
        let plain = self.scale == 1.0 && self.per_batch.is_null();
        let mut i = 0;
        // SAFETY: the caller's contract; null pointers are not read.
        unsafe {
            while i < n {
                let left = n - i;
                let full = left >= S::LANES;
                let get = |p: *const f32| if full { S::load(p) } else { S::load_n(p, left) };
                let at = col + i;
                let bias = if self.bias.is_null() { S::zero() } else { get(self.bias.add(at)) };
                for r in 0..rows {
                    let mut v = S::add(get(sums.add(r * sums_row + i)), bias);
                    if !plain {
                        v = S::mul(v, S::splat(self.scale));
                        if !self.per_batch.is_null() {
                            let batch = (row + r) / self.rows_per_batch * self.batch_stride;
                            v = S::add(v, get(self.per_batch.add(batch + at)));
                        }
                    }
                    if !self.residual.is_null() {
                        v = S::add(v, get(self.residual.add((row + r) * self.residual_row + at)));
                    }
                    v = activation.apply::<S>(v);
                    let to = out.add(r * out_row + i);
                    if full { S::store(to, v) } else { S::store_n(to, v, left) }
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
