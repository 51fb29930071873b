//! A matrix as adapters store it: whole, as a product of thin ones, or as such a product with a core between.

use std::ops::Range;

use host_tensor::{HostTensor, element_count, to_singles};

use super::bound::largest;
use super::product::{self, Size, Threads};
use super::{WeightError, check_real, decode};

/// `[rows, columns]`, where columns are all axes of a weight but the first; in f32 when it is read.
#[derive(Debug, Clone)]
pub struct Matrix {
    form: Form,
    n_rows: usize,
    n_columns: usize,
}

#[derive(Debug, Clone)]
enum Form {
    Whole(HostTensor),
    Product(Product),
}

/// `left · right`, where a core makes the right factor of a smaller one.
#[derive(Debug, Clone)]
pub(super) struct Product {
    left: HostTensor,
    /// Whether the left factor is stored as `[rank, rows]`.
    is_left_turned: bool,
    core: Option<HostTensor>,
    right: HostTensor,
    rank: usize,
}

/// The first dimension and the product of the others, where both are there.
fn split(tensor: &HostTensor) -> Option<(usize, usize)> {
    let (&first, rest) = tensor.shape().split_first()?;
    Some((first, element_count(rest)?))
}

/// What is wrong with tensors that make no matrix.
fn misfit(tensors: &[&HostTensor]) -> WeightError {
    WeightError::Factors(tensors.iter().map(|tensor| tensor.shape().to_vec()).collect())
}

impl Matrix {
    /// A matrix as it is: `[rows, columns…]`.
    ///
    /// # Errors
    /// For a scalar, and for numbers that are none of floating point.
    pub fn whole(tensor: HostTensor) -> Result<Self, WeightError> {
        check_real(&[&tensor])?;
        let (n_rows, n_columns) = split(&tensor).ok_or_else(|| misfit(&[&tensor]))?;
        Ok(Self { form: Form::Whole(tensor), n_rows, n_columns })
    }

    /// `[rows, rank]` times `[rank, columns…]`, trailing ones of the left factor aside.
    ///
    /// # Errors
    /// When the ranks differ, and for numbers that are none of floating point.
    pub fn product(left: HostTensor, right: HostTensor) -> Result<Self, WeightError> {
        check_real(&[&left, &right])?;
        let fail = || misfit(&[&left, &right]);
        let ((n_rows, rank), (n_terms, n_columns)) = split(&left).zip(split(&right)).ok_or_else(fail)?;
        if rank != n_terms {
            return Err(fail());
        }
        let product = Product { left, is_left_turned: false, core: None, right, rank };
        Ok(Self { form: Form::Product(product), n_rows, n_columns })
    }

    /// `[rows, p]` times a core `[p, q, kernel…]` times `[q, inputs]`: the columns are inputs by kernel.
    ///
    /// # Errors
    /// As [`Matrix::product`].
    pub fn tucker(left: HostTensor, core: HostTensor, right: HostTensor) -> Result<Self, WeightError> {
        Self::with_core(left, false, core, right)
    }

    /// The same with the left factor stored as `[p, rows]`.
    ///
    /// # Errors
    /// As [`Matrix::product`].
    pub fn turned_tucker(left: HostTensor, core: HostTensor, right: HostTensor) -> Result<Self, WeightError> {
        Self::with_core(left, true, core, right)
    }

    fn with_core(
        left: HostTensor,
        is_left_turned: bool,
        core: HostTensor,
        right: HostTensor,
    ) -> Result<Self, WeightError> {
        check_real(&[&left, &core, &right])?;
        let fail = || misfit(&[&left, &core, &right]);
        let sizes = || {
            let (a, b) = split(&left)?;
            let (n_rows, rank) = if is_left_turned { (b, a) } else { (a, b) };
            let (&[p, q], kernel) = core.shape().split_first_chunk::<2>()?;
            let (n_terms, n_inputs) = split(&right)?;
            let n_columns = n_inputs.checked_mul(element_count(kernel)?)?;
            (p == rank && q == n_terms).then_some((n_rows, rank, n_columns))
        };
        let (n_rows, rank, n_columns) = sizes().ok_or_else(fail)?;
        let product = Product { left, is_left_turned, core: Some(core), right, rank };
        Ok(Self { form: Form::Product(product), n_rows, n_columns })
    }

    /// Rows.
    #[must_use]
    pub const fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns.
    #[must_use]
    pub const fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Terms of the product; none where the matrix is stored whole.
    #[must_use]
    pub const fn rank(&self) -> Option<usize> {
        match &self.form {
            Form::Whole(_) => None,
            Form::Product(product) => Some(product.rank),
        }
    }

    pub(super) const fn as_product(&self) -> Option<&Product> {
        match &self.form {
            Form::Whole(_) => None,
            Form::Product(product) => Some(product),
        }
    }

    /// What no value is larger than; not finite where a factor is not.
    pub(super) fn bound(&self) -> f32 {
        match &self.form {
            Form::Whole(tensor) => largest(tensor),
            Form::Product(factors) => factors.bound(),
        }
    }

    /// Rows, which must be there.
    pub(super) fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() * self.n_columns];
        match &self.form {
            Form::Whole(tensor) => decode(tensor, rows, &mut out),
            Form::Product(factors) => {
                let size = Size { n_rows: rows.len(), n_columns: self.n_columns, n_terms: factors.rank };
                let mut left = vec![0.0; rows.len() * factors.rank];
                factors.left(rows, &mut left, factors.rank);
                let mut right = vec![0.0; factors.rank * self.n_columns];
                factors.right(&mut right);
                product::add(size, Threads::Any, &mut out, &left, &right);
            }
        }
        out
    }
}

impl Product {
    pub(super) const fn rank(&self) -> usize {
        self.rank
    }

    /// A sum of as many terms as the rank is, each no larger than the largest of every factor multiplied.
    fn bound(&self) -> f32 {
        let of_core = self.core.as_ref().map_or(1.0, |core| largest(core) * core.shape()[1] as f32);
        self.rank as f32 * largest(&self.left) * of_core * largest(&self.right)
    }

    /// Rows of the left factor, each into the beginning of one of `out`'s, which are `width` apart.
    pub(super) fn left(&self, rows: Range<usize>, out: &mut [f32], width: usize) {
        let (rank, n_rows) = (self.rank, self.left.len() / self.rank.max(1));
        let whole = self.is_left_turned.then(|| self.left.to_f32_vec());
        for (row, out) in rows.zip(out.chunks_mut(width.max(1))) {
            match &whole {
                Some(whole) => {
                    out.iter_mut().zip((0..rank).map(|term| whole[term * n_rows + row])).for_each(|(out, x)| *out = x);
                }
                None => decode(&self.left, row..row + 1, &mut out[..rank]),
            }
        }
    }

    /// The right factor, `[rank, columns]`, into `out`, which is as long.
    pub(super) fn right(&self, out: &mut [f32]) {
        let Some(core) = &self.core else { return to_singles(self.right.dtype(), self.right.bytes(), out) };
        let right = self.right.to_f32_vec();
        let (n_terms, n_inputs) = (core.shape()[1], right.len() / core.shape()[1].max(1));
        let n_kernel: usize = core.shape()[2..].iter().product();
        let core = core.to_f32_vec();
        out.fill(0.0);
        for (out, core) in
            out.chunks_exact_mut((n_inputs * n_kernel).max(1)).zip(core.chunks_exact((n_terms * n_kernel).max(1)))
        {
            for (core, right) in core.chunks_exact(n_kernel.max(1)).zip(right.chunks_exact(n_inputs.max(1))) {
                for (out, right) in out.chunks_exact_mut(n_kernel.max(1)).zip(right) {
                    out.iter_mut().zip(core).for_each(|(out, core)| *out += right * core);
                }
            }
        }
    }
}
