//! A weight with what adapters add to it, in f32.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use host_tensor::{DType, HostTensor, from_singles};
use mil::Compute;
use rayon::prelude::*;

use super::magnitude::Magnitude;
use super::matrix::Product;
use super::product::{self, Size, Threads};
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

/// Elements that a thread computes together, unless as many rows have more: both lie in its second-level cache with the
/// rows of the left factors, and each right factor read serves many rows.
const STRIP_ELEMENTS: usize = 1 << 19;
const STRIP_ROWS: usize = 192;

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

    /// Writes rows as elements of `dtype`.
    ///
    /// Several threads take some rows each, as many as the shape alone says; where that would take the memory of all right
    /// factors, or a row is not computed by itself, all of them work at one product after another.
    pub(super) fn fill(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) {
        let n_columns = row_elements(&self.shape);
        let row_bytes = n_columns * dtype.bits() / 8;
        if self.groups.len() > 1 || self.magnitude.is_some() || row_bytes == 0 {
            return from_singles(&self.values(rows), dtype, out);
        }
        let right = self.groups.first().map(|group| self.right(group, &rows));
        let at_a_time = (STRIP_ELEMENTS / n_columns).max(STRIP_ROWS);
        out.par_chunks_mut(at_a_time * row_bytes).enumerate().for_each(|(i, out)| {
            let first = rows.start + i * at_a_time;
            let mut values = vec![0.0; out.len() / row_bytes * n_columns];
            let strip = first..first + out.len() / row_bytes;
            self.base.read(strip.clone(), &mut values);
            if let Some((group, right)) = self.groups.first().zip(right.as_ref()) {
                self.add_group(group, strip.clone(), Threads::One, right, &mut values);
            }
            self.add_others(&strip, &mut values);
            from_singles(&values, dtype, out);
        });
    }

    /// Rows in f32.
    fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = self.unscaled(rows.clone());
        if let Some(magnitude) = &self.magnitude {
            magnitude.rescale(&self.shape, rows, &mut values, |rows| self.unscaled(rows));
        }
        values
    }

    /// What no value is larger than, from the base and the factors alone; not finite where one of them is not.
    pub(super) fn bound(&self) -> f32 {
        let sum = self.deltas.iter().map(Delta::bound).fold(self.base.bound(), |sum, bound| sum + bound);
        match &self.magnitude {
            // What is not finite before stays so.
            Some(magnitude) if sum.is_finite() => magnitude.bound(),
            _ => sum,
        }
    }

    /// Rows before they are rescaled.
    fn unscaled(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = self.base.values(rows.clone());
        for group in &self.groups {
            let right = self.right(group, &rows);
            self.add_group(group, rows.clone(), Threads::Any, &right, &mut values);
        }
        self.add_others(&rows, &mut values);
        values
    }

    /// Adds the products of a group.
    fn add_group(&self, group: &[usize], rows: Range<usize>, threads: Threads, right: &[f32], out: &mut [f32]) {
        let products = || group.iter().filter_map(|&i| Some((&self.deltas[i], self.deltas[i].as_product()?)));
        let n_terms: usize = products().map(|(_, product)| product.rank()).sum();
        let size = Size { n_rows: rows.len(), n_columns: row_elements(&self.shape), n_terms };
        let mut left = vec![0.0; rows.len() * n_terms];
        let mut start = 0;
        for (delta, product) in products() {
            // Rows of all left factors stand side by side.
            delta.left(product, rows.clone(), left.get_mut(start..).unwrap_or_default(), n_terms);
            start += product.rank();
        }
        product::add(size, threads, out, &left, right);
    }

    /// Adds what is no product of thin matrices.
    fn add_others(&self, rows: &Range<usize>, out: &mut [f32]) {
        self.deltas.iter().filter(|delta| delta.as_product().is_none()).for_each(|delta| delta.add(rows.clone(), out));
    }

    /// All right factors of a group, one below the other.
    fn right(&self, group: &[usize], rows: &Range<usize>) -> Arc<Vec<f32>> {
        let decode = || Arc::new(right(group.iter().filter_map(|&i| self.deltas[i].as_product()), &self.shape));
        if self.groups.len() > 1 {
            return decode();
        }
        let lock = || self.right.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is computed while others wait: a thread that decodes may be asked for other rows meanwhile.
        let kept = lock().take();
        let right = kept.unwrap_or_else(decode);
        // Rows are read in order, so that behind the last ones nobody asks for some time.
        *lock() = (rows.end < self.shape[0]).then(|| right.clone());
        right
    }
}

/// The right factors of products for a weight of this shape, one below the other.
fn right<'a>(products: impl Iterator<Item = &'a Product> + Clone, shape: &[usize]) -> Vec<f32> {
    let n_columns = row_elements(shape);
    let mut right = vec![0.0; products.clone().map(Product::rank).sum::<usize>() * n_columns];
    let mut rest = right.as_mut_slice();
    let mut parts = Vec::new();
    for product in products {
        let (part, after) = rest.split_at_mut(product.rank() * n_columns);
        parts.push((product, part));
        rest = after;
    }
    parts.into_par_iter().for_each(|(product, part)| product.right(part));
    right
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
        self.fill(rows, DType::F32, out);
    }

    fn fill_rows_as(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) -> bool {
        self.fill(rows, dtype, out);
        true
    }

    fn is_known_to_fit_half(&self) -> bool {
        self.bound() <= f16::MAX.to_f32()
    }
}
