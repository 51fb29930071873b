//! Rounds column after column, and lets the columns that follow make up for the error.
//!
//! A row `w` that is stored as `q` costs `(w - q) H (w - q)ᵀ = ‖(w - q) V‖²` with `H = V Vᵀ` and `V` upper triangular. Term
//! `j` of that sum depends on the columns up to `j` only, and is least where `q_j` is as near as can be to
//! `w_j + Σ_{i<j} (w_i - q_i) V_ij / V_jj`.
//!
//! This is the rounding of GPTQ (Frantar and others, 2022), which follows the Cholesky factor of `H⁻¹`: that is the inverse
//! of `V`, so that nothing needs to be inverted here.

use super::product::{Matrix, add_product};
use rayon::prelude::*;

/// Columns between which errors are carried one by one; those of all columns before them come as a product.
const BLOCK: usize = 128;

/// How a weight is stored: a code for every element, and what codes stand for.
pub(super) trait Codes: Sync {
    /// The code whose value is nearest to `target` at this place, and that value.
    fn nearest(&self, row: usize, column: usize, target: f32) -> (u8, f32);

    /// What a code stands for at this place.
    fn value(&self, row: usize, column: usize, code: u8) -> f32;
}

/// Each element's nearest code; the weight's first row is row `first` of the codes.
pub(super) fn round(weight: &[f32], columns: usize, first: usize, codes: &impl Codes) -> Vec<u8> {
    let mut found = vec![0; weight.len()];
    let rows = found.par_chunks_mut(columns).zip(weight.par_chunks(columns)).enumerate();
    rows.for_each(|(row, (found, weight))| {
        for (column, (found, &value)) in found.iter_mut().zip(weight).enumerate() {
            *found = codes.nearest(first + row, column, value).0;
        }
    });
    found
}

/// The squared error `‖(w - q) V‖²` of codes that are there; `factor` is `V`.
pub(super) fn error_of(
    weight: &[f32],
    columns: usize,
    factor: &[f32],
    first: usize,
    (found, codes): (&[u8], &impl Codes),
) -> f64 {
    let mut errors = weight.to_vec();
    errors.par_chunks_mut(columns).zip(found.par_chunks(columns)).enumerate().for_each(|(row, (errors, found))| {
        for (column, (error, &code)) in errors.iter_mut().zip(found).enumerate() {
            *error -= codes.value(first + row, column, code);
        }
    });
    let n_rows = weight.len() / columns;
    let mut total = 0.0;
    for from in (0..columns).step_by(BLOCK) {
        let width = BLOCK.min(columns - from);
        let mut product = vec![0f32; n_rows * width];
        let (errors, behind) = (Matrix::rows(&errors, columns), Matrix::rows(&factor[from..], columns));
        add_product((n_rows, width, from + width), (&mut product, width), 1.0, errors, behind);
        total += product.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>();
    }
    total
}

/// Codes with the error of each column fed back into those behind it, and the squared error `‖(w - q) V‖²`.
pub(super) fn feed_back(
    weight: &[f32],
    columns: usize,
    factor: &[f32],
    first: usize,
    codes: &impl Codes,
) -> (Vec<u8>, f64) {
    let n_rows = weight.len() / columns;
    let (mut found, mut errors, mut total) = (vec![0; weight.len()], vec![0f32; weight.len()], 0.0);
    for from in (0..columns).step_by(BLOCK) {
        let width = BLOCK.min(columns - from);
        let mut carried = vec![0f32; n_rows * width];
        let (before, behind) = (Matrix::rows(&errors, columns), Matrix::rows(&factor[from..], columns));
        add_product((n_rows, width, from), (&mut carried, width), 1.0, before, behind);
        let rows = found.par_chunks_mut(columns).zip(errors.par_chunks_mut(columns)).zip(weight.par_chunks(columns));
        let rows = rows.zip(carried.par_chunks_mut(width)).enumerate();
        rows.for_each(|(row, (((found, errors), weight), carried))| {
            for j in 0..width {
                let at = from + j;
                let line = &factor[at * columns..][at..from + width];
                let (code, value) = codes.nearest(first + row, at, weight[at] + carried[j] / line[0]);
                let error = weight[at] - value;
                (found[at], errors[at]) = (code, error);
                carried[j..].iter_mut().zip(line).for_each(|(carried, v)| *carried += error * v);
            }
        });
        // What was carried into a column, and what its own error adds, is the column of the product.
        total += carried.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>();
    }
    (found, total)
}
