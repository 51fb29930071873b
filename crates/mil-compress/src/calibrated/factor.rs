//! `H = V Vᵀ` with `V` upper triangular: Cholesky's factor, from the last row to the first.

use super::product::{Matrix, add_product};
use rayon::prelude::*;

/// Columns that are factored together.
const BLOCK: usize = 96;
/// Columns in front of a block that are brought up to date together: what lies below the diagonal is mostly left out.
const STRIPE: usize = 512;
/// What is added to the diagonal, in parts of its mean: inputs of calibration are few, and no direction that they lack may
/// be taken for one that never comes. Where the factor does not exist numerically, the next one is tried.
const DAMPING: [f64; 3] = [0.01, 0.1, 1.0];

/// The factor of moments with a little added to their diagonal; `None` for moments of nothing, and what is not finite.
pub(super) fn damped_factor(moments: &[f32], n: usize) -> Option<Vec<f32>> {
    let mean = (0..n).map(|i| f64::from(moments[i * n + i])).sum::<f64>() / n as f64;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    DAMPING.iter().find_map(|part| {
        let mut factor = moments.to_vec();
        (0..n).for_each(|i| factor[i * n + i] += (part * mean) as f32);
        factor_in_place(&mut factor, n).then_some(factor)
    })
}

/// Replaces a symmetric matrix by its factor; false where it is not positive.
fn factor_in_place(h: &mut [f32], n: usize) -> bool {
    let mut to = n;
    while to > 0 {
        let from = to.saturating_sub(BLOCK);
        if !diagonal(h, n, from, to) {
            return false;
        }
        let width = to - from;
        let block = columns(h, n, from..to, from..to);
        h[..from * n].par_chunks_mut(n).for_each(|row| {
            let row = &mut row[from..to];
            for j in (0..width).rev() {
                let line = &block[j * width..][..width];
                let sum: f32 = row[j + 1..].iter().zip(&line[j + 1..]).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - sum) / line[j];
            }
        });
        let panel = columns(h, n, 0..from, from..to);
        for first in (0..from).step_by(STRIPE) {
            let last = (first + STRIPE).min(from);
            let turned = Matrix::columns(&panel[first * width..], width);
            let whole = Matrix::rows(&panel, width);
            add_product((last, last - first, width), (&mut h[first..], n), -1.0, whole, turned);
        }
        to = from;
    }
    (1..n).for_each(|i| h[i * n..][..i].fill(0.0));
    true
}

/// A part of a matrix, copied.
fn columns(h: &[f32], n: usize, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Vec<f32> {
    rows.flat_map(|i| &h[i * n..][columns.clone()]).copied().collect()
}

/// The factor of a block on the diagonal.
fn diagonal(h: &mut [f32], n: usize, from: usize, to: usize) -> bool {
    for j in (from..to).rev() {
        let rest: f64 = h[j * n..][j + 1..to].iter().map(|&v| f64::from(v).powi(2)).sum();
        let square = f64::from(h[j * n + j]) - rest;
        if !(square.is_finite() && square > 0.0) {
            return false;
        }
        let root = square.sqrt() as f32;
        h[j * n + j] = root;
        for i in from..j {
            let sum: f32 = (j + 1..to).map(|k| h[i * n + k] * h[j * n + k]).sum();
            h[i * n + j] = (h[i * n + j] - sum) / root;
        }
    }
    true
}
