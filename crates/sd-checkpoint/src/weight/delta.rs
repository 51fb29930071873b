//! What an adapter adds to a weight.

use std::ops::Range;

use super::matrix::Product;
use super::{Matrix, WeightError};

/// A matrix times a factor, which is added to a weight of its shape; computed by rows.
#[derive(Debug, Clone)]
pub struct Delta {
    form: Form,
    scale: f32,
    /// Which of its rows are added, one piece after another; none stands for all.
    pieces: Option<Vec<Range<usize>>>,
}

#[derive(Debug, Clone)]
enum Form {
    Matrix(Matrix),
    /// Element by element.
    Hadamard(Matrix, Matrix),
    /// Every element of the first times all of the second.
    Kronecker(Matrix, Matrix),
}

impl Delta {
    /// A matrix, as LoRA, LoCon and full differences have it.
    #[must_use]
    pub const fn matrix(matrix: Matrix, scale: f32) -> Self {
        Self { form: Form::Matrix(matrix), scale, pieces: None }
    }

    /// The product of two matrices element by element, as LoHa has it.
    ///
    /// # Errors
    /// When their shapes differ.
    pub fn hadamard(first: Matrix, second: Matrix, scale: f32) -> Result<Self, WeightError> {
        match (first.n_rows(), first.n_columns()) == (second.n_rows(), second.n_columns()) {
            true => Ok(Self { form: Form::Hadamard(first, second), scale, pieces: None }),
            false => Err(WeightError::Factors(vec![shape(&first), shape(&second)])),
        }
    }

    /// The Kronecker product of two matrices, as LoKr has it.
    ///
    /// # Errors
    /// When the result has more rows or columns than there are addresses.
    pub fn kronecker(first: Matrix, second: Matrix, scale: f32) -> Result<Self, WeightError> {
        let n_rows = first.n_rows().checked_mul(second.n_rows());
        let n_columns = first.n_columns().checked_mul(second.n_columns());
        match n_rows.zip(n_columns) {
            Some(_) => Ok(Self { form: Form::Kronecker(first, second), scale, pieces: None }),
            None => Err(WeightError::Factors(vec![shape(&first), shape(&second)])),
        }
    }

    /// The same, of which these rows are added, one piece after another: what is added to a weight that is a part of a
    /// larger one elsewhere.
    ///
    /// # Errors
    /// [`WeightError::Rows`] for rows that it does not have.
    pub fn taking(mut self, pieces: Vec<Range<usize>>) -> Result<Self, WeightError> {
        let [n_rows, n_columns] = self.full_shape();
        match pieces.iter().find(|piece| piece.start > piece.end || piece.end > n_rows) {
            Some(piece) => Err(WeightError::Rows { rows: piece.clone(), shape: vec![n_rows, n_columns] }),
            None => {
                self.pieces = Some(pieces);
                Ok(self)
            }
        }
    }

    /// Rows and columns of what is added.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        let [n_rows, n_columns] = self.full_shape();
        [self.pieces.as_ref().map_or(n_rows, |pieces| pieces.iter().map(ExactSizeIterator::len).sum()), n_columns]
    }

    fn full_shape(&self) -> [usize; 2] {
        match &self.form {
            Form::Matrix(matrix) | Form::Hadamard(matrix, _) => [matrix.n_rows(), matrix.n_columns()],
            Form::Kronecker(first, second) => {
                [first.n_rows() * second.n_rows(), first.n_columns() * second.n_columns()]
            }
        }
    }

    /// The product, where it is one of two thin matrices and nothing else.
    pub(super) fn as_product(&self) -> Option<&Product> {
        match &self.form {
            Form::Matrix(matrix) => matrix.as_product(),
            _ => None,
        }
    }

    /// Rows of the product's left factor times the scale, each into the beginning of one of `out`'s, which are `width`
    /// apart.
    pub(super) fn left(&self, product: &Product, rows: Range<usize>, out: &mut [f32], width: usize) {
        let mut rest = &mut *out;
        for stored in self.stored(rows) {
            let n_rows = stored.len();
            product.left(stored, rest, width);
            rest = rest.get_mut(n_rows * width..).unwrap_or_default();
        }
        let rank = product.rank();
        out.chunks_mut(width.max(1)).for_each(|row| row.iter_mut().take(rank).for_each(|x| *x *= self.scale));
    }

    /// What none of its values is larger than; not finite where a factor is not.
    pub(super) fn bound(&self) -> f32 {
        let form = match &self.form {
            Form::Matrix(matrix) => matrix.bound(),
            Form::Hadamard(first, second) | Form::Kronecker(first, second) => first.bound() * second.bound(),
        };
        form * self.scale.abs()
    }

    /// Adds its rows to those of a weight.
    pub(super) fn add(&self, rows: Range<usize>, out: &mut [f32]) {
        let [_, n_columns] = self.full_shape();
        let mut rest = out;
        for stored in self.stored(rows) {
            let (here, after) = rest.split_at_mut(stored.len() * n_columns);
            rest = after;
            let scale = self.scale;
            match &self.form {
                Form::Matrix(matrix) => {
                    here.iter_mut().zip(matrix.rows(stored)).for_each(|(out, x)| *out += scale * x);
                }
                Form::Hadamard(first, second) => {
                    let pairs = first.rows(stored.clone()).into_iter().zip(second.rows(stored));
                    here.iter_mut().zip(pairs).for_each(|(out, (x, y))| *out += scale * x * y);
                }
                Form::Kronecker(first, second) => add_kronecker(first, second, scale, stored, here),
            }
        }
    }

    /// The stored rows that these rows are.
    fn stored(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let all = || std::iter::once(0..self.full_shape()[0]).collect();
        let pieces: Vec<_> = self.pieces.clone().unwrap_or_else(all);
        let mut start = 0;
        pieces.into_iter().filter_map(move |piece| {
            let (from, n) = (start, piece.len());
            start += n;
            let own = rows.start.clamp(from, from + n) - from..rows.end.clamp(from, from + n) - from;
            (!own.is_empty()).then(|| piece.start + own.start..piece.start + own.end)
        })
    }
}

fn shape(matrix: &Matrix) -> Vec<usize> {
    vec![matrix.n_rows(), matrix.n_columns()]
}

/// Row `i` of the result is row `i / n` of the first times row `i % n` of the second, which has `n`.
fn add_kronecker(first: &Matrix, second: &Matrix, scale: f32, rows: Range<usize>, out: &mut [f32]) {
    let (n, width) = (second.n_rows(), second.n_columns());
    let (mut rest, mut row) = (out, rows.start);
    while row < rows.end {
        let (of_first, begin) = (row / n, row % n);
        // One row of the first at a time, with as many of the second as are wanted of it.
        let end = n.min(begin + rows.end - row);
        let (factors, block) = (first.rows(of_first..of_first + 1), second.rows(begin..end));
        let (here, after) = rest.split_at_mut((end - begin) * width * factors.len());
        for (out, values) in here.chunks_exact_mut((width * factors.len()).max(1)).zip(block.chunks_exact(width.max(1)))
        {
            for (out, factor) in out.chunks_exact_mut(width.max(1)).zip(&factors) {
                let factor = factor * scale;
                out.iter_mut().zip(values).for_each(|(out, x)| *out += factor * x);
            }
        }
        (rest, row) = (after, row + end - begin);
    }
}
