//! A weight as rows, one for each output channel.

use crate::Axes;
use host_tensor::{Bytes, DType, HostTensor, pack_bits};

/// The elements of a weight, output channel after output channel.
pub(super) struct Rows {
    values: Vec<f32>,
    shape: Vec<usize>,
    n_columns: usize,
    /// Whether output channels are the last axis of a matrix.
    is_turned: bool,
}

impl Rows {
    /// `None` where output channels are neither the first axis nor the last one of a matrix.
    pub(super) fn of(weight: &HostTensor, axes: Axes) -> Option<Self> {
        let shape = weight.shape().to_vec();
        let is_turned = match (axes.output, shape.len()) {
            (0, _) => false,
            (1, 2) => true,
            _ => return None,
        };
        let n_columns = if is_turned { shape[0] } else { shape[1..].iter().product() };
        let values = weight.to_f32_vec();
        let values = if is_turned { turned(&values, shape[0], shape[1]) } else { values };
        Some(Self { values, shape, n_columns, is_turned })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.values.len() / self.n_columns.max(1)
    }

    /// Elements of a row.
    pub(super) fn columns(&self) -> usize {
        self.n_columns
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Codes that stand as the rows do, as a tensor of the weight's shape.
    pub(super) fn tensor(&self, codes: &[u8], dtype: DType) -> HostTensor {
        let codes = if self.is_turned { turned(codes, self.shape[1], self.shape[0]) } else { codes.to_vec() };
        let bytes = if dtype.bits() < 8 { pack_bits(&codes, dtype.bits()) } else { codes };
        HostTensor::new(dtype, self.shape.clone(), Bytes::from(bytes)).expect("invariant: a code for each element")
    }

    /// Where each row and each column lies among blocks, of which there are so many along each axis: the block of an element
    /// is the sum of both.
    pub(super) fn blocks(&self, blocks: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let along = |axes: std::ops::Range<usize>| -> Vec<usize> {
            let shape = &self.shape[axes.clone()];
            let one = |mut at: usize| {
                let mut block = 0;
                for axis in axes.clone().rev() {
                    let step: usize = blocks[axis + 1..self.shape.len()].iter().product();
                    block += at % self.shape[axis] / (self.shape[axis] / blocks[axis].max(1)).max(1) * step;
                    at /= self.shape[axis];
                }
                block
            };
            (0..shape.iter().product()).map(one).collect()
        };
        let (first, rest) = (along(0..1), along(1..self.shape.len()));
        if self.is_turned { (rest, first) } else { (first, rest) }
    }
}

/// A matrix of `n` rows and `m` columns, turned.
fn turned<T: Copy>(values: &[T], n: usize, m: usize) -> Vec<T> {
    (0..n * m).map(|i| values[i % n * m + i / n]).collect()
}
