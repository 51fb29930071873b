//! Magnitudes of a decomposed weight (DoRA): every row or column of a sum is rescaled to a given length.
//!
//! Of the readings that programs have, this is that of diffusers and PEFT: what is added has its weight inside the norm,
//! `m · (W + w·ΔW) / ‖W + w·ΔW‖` (peft 0.21, `get_delta_weight` and `weight_norm` when it merges).

use std::ops::Range;
use std::sync::OnceLock;

use host_tensor::{HostTensor, element_count};

use super::bound::largest_of;
use super::{BLOCK_ELEMENTS, WeightError, check_real};

/// The lengths that rows or columns of a weight shall have.
#[derive(Debug)]
pub(super) struct Magnitude {
    values: Vec<f32>,
    along: Along,
}

#[derive(Debug)]
enum Along {
    /// One length for each output: a row.
    Rows,
    /// One for each input: all outputs of it, and all of the kernel. Their norms need all rows, so they are computed when
    /// they are first asked for.
    Inputs { norms: OnceLock<Vec<f32>> },
}

impl Magnitude {
    /// `[outputs, 1…]` or `[outputs]`, else `[1, inputs, 1…]`, for a weight of that shape.
    pub(super) fn new(values: &HostTensor, shape: &[usize]) -> Result<Self, WeightError> {
        check_real(&[values])?;
        let misfit = || WeightError::Magnitude { values: values.shape().to_vec(), shape: shape.to_vec() };
        let one = |dims: &[usize]| element_count(dims) == Some(1);
        let (n_rows, n_inputs) =
            shape.first().copied().zip(Some(shape.get(1).copied().unwrap_or(1))).ok_or_else(misfit)?;
        let along = match values.shape() {
            [n, rest @ ..] if *n == n_rows && one(rest) => Along::Rows,
            [1, n, rest @ ..] if *n == n_inputs && one(rest) => Along::Inputs { norms: OnceLock::new() },
            _ => return Err(misfit()),
        };
        Ok(Self { values: values.to_f32_vec(), along })
    }

    /// What no value is larger than afterwards: a length of its row or of its input.
    pub(super) fn bound(&self) -> f32 {
        largest_of(&self.values)
    }

    /// Rescales these rows of a weight; `sum` gives any of its rows before they are rescaled.
    pub(super) fn rescale(
        &self,
        shape: &[usize],
        rows: Range<usize>,
        values: &mut [f32],
        sum: impl Fn(Range<usize>) -> Vec<f32>,
    ) {
        let n_columns: usize = shape[1..].iter().product();
        let rows_of_values = values.chunks_exact_mut(n_columns.max(1));
        match &self.along {
            Along::Rows => {
                for (row, length) in rows_of_values.zip(&self.values[rows]) {
                    let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                    let factor = ratio(*length, norm as f32);
                    row.iter_mut().for_each(|x| *x *= factor);
                }
            }
            Along::Inputs { norms } => {
                let norms = norms.get_or_init(|| input_norms(shape, sum));
                let n_kernel = n_columns / norms.len().max(1);
                for row in rows_of_values {
                    let lengths = norms.iter().zip(&self.values);
                    for (kernel, (norm, length)) in row.chunks_exact_mut(n_kernel.max(1)).zip(lengths) {
                        let factor = ratio(*length, *norm);
                        kernel.iter_mut().for_each(|x| *x *= factor);
                    }
                }
            }
        }
    }
}

/// A row of zeros stays one.
fn ratio(length: f32, norm: f32) -> f32 {
    if norm == 0.0 { 0.0 } else { length / norm }
}

/// The norm of what comes from each input; reads the whole weight once, by blocks.
fn input_norms(shape: &[usize], sum: impl Fn(Range<usize>) -> Vec<f32>) -> Vec<f32> {
    let (n_rows, n_columns) = (shape[0], shape[1..].iter().product::<usize>());
    let n_inputs = shape.get(1).copied().unwrap_or(1);
    let (n_kernel, at_a_time) = (n_columns / n_inputs.max(1), (BLOCK_ELEMENTS / n_columns.max(1)).max(1));
    let mut squares = vec![0f64; n_inputs];
    for first in (0..n_rows).step_by(at_a_time) {
        for row in sum(first..n_rows.min(first + at_a_time)).chunks_exact(n_columns.max(1)) {
            for (square, kernel) in squares.iter_mut().zip(row.chunks_exact(n_kernel.max(1))) {
                *square += kernel.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            }
        }
    }
    squares.into_iter().map(|square| square.sqrt() as f32).collect()
}
