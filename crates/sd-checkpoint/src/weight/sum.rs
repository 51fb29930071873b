//! A weight with what adapters add to it, in f32.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use host_tensor::{DType, HostTensor};
use mil::Compute;

use super::magnitude::{BLOCK_ELEMENTS, Magnitude};
use super::matrix::largest;
use super::product::{self, Size};
use super::{Delta, Weight, WeightError, check_computed, row_elements};

/// A weight and what is added to it, perhaps rescaled to given lengths afterwards.
#[derive(Debug)]
pub struct Sum {
    base: Weight,
    deltas: Vec<Delta>,
    magnitude: Option<Magnitude>,
    shape: Vec<usize>,
    /// Products of thin matrices by position: those of a group are joined along their rank and computed as one.
    groups: Vec<Vec<usize>>,
    /// The right factors of the only group, decoded, from the first block of rows that is read to the last.
    right: Mutex<Option<Arc<Vec<f32>>>>,
}

/// Elements of right factors that are decoded together, unless one has more.
const GROUP_ELEMENTS: usize = 16 << 20;

impl Sum {
    pub(super) fn new(base: Weight, deltas: Vec<Delta>, magnitude: Option<&HostTensor>) -> Result<Self, WeightError> {
        let shape = base.shape();
        check_computed(std::slice::from_ref(&base), &shape)?;
        let wanted = shape.first().map(|&n_rows| [n_rows, row_elements(&shape)]);
        if let Some(other) = deltas.iter().find(|delta| Some(delta.shape()) != wanted) {
            return Err(WeightError::Delta { delta: other.shape().to_vec(), shape });
        }
        let magnitude = magnitude.map(|values| Magnitude::new(values, &shape)).transpose()?;
        // What is added to a sum joins it, so that all its products are computed as one.
        let (base, deltas) = match base {
            Weight::Sum(sum) if sum.magnitude.is_none() => (sum.base.clone(), [&sum.deltas[..], &deltas].concat()),
            other => (other, deltas),
        };
        let groups = groups(&deltas, row_elements(&shape));
        Ok(Self { base, deltas, magnitude, shape, groups, right: Mutex::new(None) })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows in f32.
    pub(super) fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = self.unscaled(rows.clone());
        if let Some(magnitude) = &self.magnitude {
            magnitude.rescale(&self.shape, rows, &mut values, |rows| self.unscaled(rows));
        }
        values
    }

    /// What no value is larger than, from the base and the factors alone; not finite where one of them is not.
    fn bound(&self) -> f32 {
        let at_a_time = (BLOCK_ELEMENTS / row_elements(&self.shape).max(1)).max(1);
        let n_rows = self.shape.first().copied().unwrap_or(0);
        let blocks = (0..n_rows).step_by(at_a_time).map(|first| first..n_rows.min(first + at_a_time));
        let base: Vec<f32> = blocks.map(|rows| largest(&self.base.values(rows))).collect();
        let sum = self.deltas.iter().map(Delta::bound).fold(largest(&base), |sum, bound| sum + bound);
        match &self.magnitude {
            // What is not finite before stays so.
            Some(magnitude) => {
                if sum.is_finite() {
                    magnitude.bound()
                } else {
                    sum
                }
            }
            None => sum,
        }
    }

    /// Rows before they are rescaled.
    fn unscaled(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = self.base.values(rows.clone());
        for group in &self.groups {
            let (left, n_terms) = self.left(group, rows.clone());
            let size = Size { n_rows: rows.len(), n_columns: row_elements(&self.shape), n_terms };
            product::add(size, &mut values, &left, &self.right(group, &rows));
        }
        for delta in self.deltas.iter().filter(|delta| delta.as_product().is_none()) {
            delta.add(rows.clone(), &mut values);
        }
        values
    }

    /// Rows of all left factors of a group side by side, and how many columns those are.
    fn left(&self, group: &[usize], rows: Range<usize>) -> (Vec<f32>, usize) {
        let products = || group.iter().filter_map(|&i| Some((&self.deltas[i], self.deltas[i].as_product()?)));
        let n_terms: usize = products().map(|(_, product)| product.rank()).sum();
        let mut left = vec![0.0; rows.len() * n_terms];
        let mut start = 0;
        for (delta, product) in products() {
            let (own, rank) = (delta.left(product, rows.clone()), product.rank());
            for (row, own) in left.chunks_exact_mut(n_terms.max(1)).zip(own.chunks_exact(rank.max(1))) {
                row[start..start + rank].copy_from_slice(own);
            }
            start += rank;
        }
        (left, n_terms)
    }

    /// All right factors of a group, one below the other.
    fn right(&self, group: &[usize], rows: &Range<usize>) -> Arc<Vec<f32>> {
        let decode = || {
            let products = group.iter().filter_map(|&i| self.deltas[i].as_product());
            let mut right = Vec::new();
            products.for_each(|product| right.append(&mut product.right()));
            Arc::new(right)
        };
        if self.groups.len() > 1 {
            return decode();
        }
        let mut kept = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let right = kept.take().unwrap_or_else(decode);
        // Rows are read in order, so that behind the last ones nobody asks for some time.
        *kept = (rows.end < self.shape[0]).then(|| right.clone());
        right
    }
}

/// Products in groups whose right factors together are no larger than memory may grow by.
fn groups(deltas: &[Delta], n_columns: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for (i, delta) in deltas.iter().enumerate() {
        let Some(product) = delta.as_product() else { continue };
        let n = product.rank().saturating_mul(n_columns);
        match groups.last_mut() {
            Some((elements, group)) if elements.saturating_add(n) <= GROUP_ELEMENTS => {
                *elements += n;
                group.push(i);
            }
            _ => groups.push((n, vec![i])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

impl Compute for Sum {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        for (bytes, value) in out.chunks_exact_mut(4).zip(self.values(rows)) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn is_known_to_fit_half(&self) -> bool {
        self.bound() <= f16::MAX.to_f32()
    }
}
