//! A part of a tensor, cut out along its axes while it is read.

use super::source::Compute;
use host_tensor::{DType, HostTensor};
use std::{ops::Range, sync::Arc};

/// The elements of a stored tensor whose indices lie in these ranges.
#[derive(Debug)]
pub(super) struct Crop {
    tensor: HostTensor,
    ranges: Vec<Range<usize>>,
    shape: Vec<usize>,
}

impl Crop {
    /// `None` for a tensor of parts of bytes, a range that leaves an axis, and another number of ranges than axes.
    pub(super) fn new(tensor: HostTensor, ranges: &[Range<usize>]) -> Option<Self> {
        let is_possible = are_inside(ranges, tensor.shape()) && !tensor.dtype().is_sub_byte();
        let shape = ranges.iter().map(ExactSizeIterator::len).collect();
        is_possible.then(|| Self { tensor, ranges: ranges.to_vec(), shape })
    }

    /// Appends the part below `at`, an offset in elements of the axes from `axis` on, to `out`.
    fn copy<'o>(&self, axis: usize, at: usize, mut out: &'o mut [u8]) -> &'o mut [u8] {
        let width = self.tensor.dtype().bits() / 8;
        let Some(range) = self.ranges.get(axis) else {
            let (here, rest) = out.split_at_mut(width);
            here.copy_from_slice(&self.tensor.bytes()[at * width..(at + 1) * width]);
            return rest;
        };
        let stride: usize = self.tensor.shape()[axis + 1..].iter().product();
        let is_whole = self.shape[axis + 1..] == self.tensor.shape()[axis + 1..];
        if is_whole {
            let bytes = &self.tensor.bytes()[(at + range.start * stride) * width..(at + range.end * stride) * width];
            let (here, rest) = out.split_at_mut(bytes.len());
            here.copy_from_slice(bytes);
            return rest;
        }
        for index in range.clone() {
            out = self.copy(axis + 1, at + index * stride, out);
        }
        out
    }
}

impl Compute for Crop {
    fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, mut out: &mut [u8]) {
        let stride: usize = self.tensor.shape().iter().skip(1).product();
        let first = self.ranges.first().map_or(0, |range| range.start);
        let row_bytes: usize = self.shape.iter().skip(1).product::<usize>() * (self.tensor.dtype().bits() / 8);
        for row in rows {
            let (here, rest) = out.split_at_mut(row_bytes);
            self.copy(1, (first + row) * stride, here);
            out = rest;
        }
    }

    /// A part of the part is one of the tensor.
    fn crop(&self, ranges: &[Range<usize>]) -> Option<Arc<dyn Compute>> {
        let moved = |(outer, inner): (&Range<usize>, &Range<usize>)| outer.start + inner.start..outer.start + inner.end;
        let of_tensor = || self.ranges.iter().zip(ranges).map(moved).collect::<Vec<_>>();
        let ranges = are_inside(ranges, &self.shape).then(of_tensor)?;
        Some(Arc::new(Self::new(self.tensor.clone(), &ranges)?))
    }
}

fn are_inside(ranges: &[Range<usize>], shape: &[usize]) -> bool {
    let fits = |(range, &size): (&Range<usize>, &usize)| range.start <= range.end && range.end <= size;
    ranges.len() == shape.len() && ranges.iter().zip(shape).all(fits)
}
