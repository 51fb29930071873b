//! What the operations that read a weight are given, as far as it says which errors of the weight matter.
//!
//! A row of a weight makes one output channel from columns `x` of its inputs. Where the row is changed by `d`, the sum of
//! the squared changes of that channel is `Σ (d·x)² = d H dᵀ` with `H = Σ x xᵀ`: these second moments are all that
//! compression needs to know of the inputs.

use super::product::{Matrix, add_product};
use crate::{CompressError, PlannedWeight};

/// Second moments of what one weight is multiplied by.
#[derive(Debug, Clone)]
pub struct Statistics {
    n_columns: usize,
    groups: Vec<Moments>,
}

/// Those of one group of a convolution, row-major; other operations have one group.
#[derive(Debug, Clone)]
pub(crate) struct Moments(pub(crate) Vec<f32>);

/// Where statistics come from, weight by weight.
pub trait Calibration: std::fmt::Debug + Sync {
    /// What a weight is multiplied by; `None` where that is not known, and the weight is compressed without.
    ///
    /// Weights are asked for one after another, in the order of the plan.
    ///
    /// # Errors
    /// [`CompressError::Calibration`], and [`CompressError::Stopped`].
    fn statistics(&self, weight: &PlannedWeight<'_>) -> Result<Option<Statistics>, CompressError>;
}

impl Statistics {
    /// Statistics of nothing yet, for a weight whose rows have `n_columns` elements: for a convolution the input channels
    /// of a group times the size of its kernel, in the order of the weight.
    #[must_use]
    pub fn new(n_columns: usize, n_groups: usize) -> Self {
        Self { n_columns, groups: vec![Moments(vec![0.0; n_columns * n_columns]); n_groups] }
    }

    /// Counts inputs of a group, one after another: each has as many elements as a row of the weight.
    ///
    /// What is not a whole input at the end is not counted, and neither is a group that is not there.
    pub fn add(&mut self, group: usize, inputs: &[f32]) {
        let n = self.n_columns;
        let Some(Moments(sums)) = self.groups.get_mut(group).filter(|_| n > 0) else { return };
        let m = inputs.len() / n;
        add_product((n, n, m), (sums, n), 1.0, Matrix::columns(inputs, n), Matrix::rows(inputs, n));
    }

    /// The sum of the squares of what a row of the weight gives for all inputs of its group; of the difference of two rows, the
    /// squared error of one for the other.
    #[must_use]
    pub fn squares(&self, group: usize, row: &[f32]) -> f64 {
        let Some(Moments(sums)) = self.groups.get(group) else { return 0.0 };
        let line = |line: &[f32]| line.iter().zip(row).map(|(h, r)| f64::from(*h) * f64::from(*r)).sum::<f64>();
        sums.chunks_exact(self.n_columns.max(1)).zip(row).map(|(h, &r)| f64::from(r) * line(h)).sum()
    }

    /// Elements of a row of the weight.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Bytes of memory that compressing a weight with statistics takes beside the weight: the moments, and a factor of those
    /// of one group.
    #[must_use]
    pub fn bytes(n_columns: usize, n_groups: usize) -> u64 {
        let square = (n_columns as u64).saturating_mul(n_columns as u64);
        square.saturating_mul(n_groups as u64 + 1).saturating_mul(size_of::<f32>() as u64)
    }

    pub(crate) fn groups(&self) -> &[Moments] {
        &self.groups
    }
}
