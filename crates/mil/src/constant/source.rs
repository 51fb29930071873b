//! What a constant views: bytes that lie somewhere, or rows that are computed while they are read.

use super::ConstError;
use host_tensor::{Bytes, DType, HostTensor, element_count};
use std::{fmt, ops::Range, sync::Arc};

/// A tensor that is computed by rows while it is read: a join of several tensors, or a weight with what an adapter
/// adds to it.
///
/// Computing cannot fail: whatever could is checked before a value of this type is made.
/// Rows are asked for in order, a few MiB at a time, once for each reading of the constant and perhaps by several
/// threads; so a computation keeps no result, and its input is what lies in memory or in a mapped file.
pub trait Compute: fmt::Debug + Send + Sync {
    /// Element type: one of whole bytes.
    fn dtype(&self) -> DType;

    /// Dimensions, outermost first.
    fn shape(&self) -> &[usize];

    /// Writes these rows, little-endian and row-major, into `out`, which is exactly as long as they are.
    ///
    /// A row is a slice along the first axis; a scalar is one row.
    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]);

    /// Writes these rows as elements of another type of whole bytes, likewise, where that is quicker than converting them
    /// afterwards; false, and nothing written, where it is not.
    fn fill_rows_as(&self, rows: Range<usize>, dtype: DType, out: &mut [u8]) -> bool {
        let _ = (rows, dtype, out);
        false
    }

    /// The computation of the part whose indices lie in these ranges, one for each axis, if it takes less memory than
    /// computing the whole and cutting.
    fn crop(&self, ranges: &[Range<usize>]) -> Option<Arc<dyn Compute>> {
        let _ = ranges;
        None
    }

    /// Whether all values are known to be finite in f16 too, from the input alone: whoever looks for others need not compute
    /// them.
    fn is_known_to_fit_half(&self) -> bool {
        false
    }
}

/// Tells the sources of constants apart without reading them, as long as they live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(Id);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Id {
    /// Address and length of the bytes.
    Stored(usize, usize),
    /// Address of the computation.
    Computed(usize),
}

/// The source of a constant that is a view of this tensor's bytes.
impl From<&HostTensor> for SourceId {
    fn from(tensor: &HostTensor) -> Self {
        Self(Id::Stored(tensor.bytes().as_ptr() as usize, tensor.bytes().len()))
    }
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    Stored(HostTensor),
    Computed(Computed),
}

impl Source {
    pub(super) fn dtype(&self) -> DType {
        match self {
            Self::Stored(tensor) => tensor.dtype(),
            Self::Computed(computed) => computed.dtype,
        }
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Stored(tensor) => tensor.shape(),
            Self::Computed(computed) => &computed.shape,
        }
    }

    pub(super) fn n_bytes(&self) -> usize {
        match self {
            Self::Stored(tensor) => tensor.bytes().len(),
            Self::Computed(computed) => computed.n_rows * computed.row_bytes,
        }
    }

    pub(super) fn id(&self) -> SourceId {
        match self {
            Self::Stored(tensor) => tensor.into(),
            Self::Computed(c) => SourceId(Id::Computed(Arc::as_ptr(&c.compute).cast::<()>() as usize)),
        }
    }
}

/// A computation whose extents have been checked.
///
/// They are kept, so that a computation which changed its mind could not make a reader overrun.
#[derive(Debug, Clone)]
pub(super) struct Computed {
    compute: Arc<dyn Compute>,
    dtype: DType,
    shape: Vec<usize>,
    n_rows: usize,
    row_bytes: usize,
}

/// Bytes of rows that are computed at a time, unless one row is longer: enough for several threads.
const BLOCK_BYTES: usize = 16 << 20;

impl Computed {
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn new(compute: Arc<dyn Compute>) -> Result<Self, ConstError> {
        let (dtype, shape) = (compute.dtype(), compute.shape().to_vec());
        let n_bytes = element_count(&shape).and_then(|n| dtype.byte_len(n)).filter(|_| !dtype.is_sub_byte());
        let Some(n_bytes) = n_bytes else { return Err(ConstError::Computed { dtype, shape }) };
        let n_rows = shape.first().copied().unwrap_or(1);
        let row_bytes = n_bytes.checked_div(n_rows).unwrap_or(0);
        Ok(Self { compute, dtype, shape, n_rows, row_bytes })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// A part, if the computation knows a way to it.
    pub(super) fn crop(&self, ranges: &[Range<usize>]) -> Option<Arc<dyn Compute>> {
        let is_asked = |part: &Arc<dyn Compute>| {
            part.dtype() == self.dtype && ranges.iter().map(ExactSizeIterator::len).eq(part.shape().iter().copied())
        };
        self.compute.crop(ranges).filter(is_asked)
    }

    /// Whether its values need not be looked at for exceptions.
    pub(super) fn is_known_to_fit_half(&self) -> bool {
        self.compute.is_known_to_fit_half()
    }

    /// Passes the bytes to `sink` in order, as many whole rows at a time as make a block.
    pub(super) fn for_each_block<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.for_each_block_as(self.dtype, |_, block| sink(block))
    }

    /// The same as elements of `dtype` where the computation makes them, which the type before each block says.
    pub(super) fn for_each_block_as<E>(
        &self,
        dtype: DType,
        mut sink: impl FnMut(DType, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.row_bytes == 0 {
            return Ok(());
        }
        let rows_at_a_time = (BLOCK_BYTES / self.row_bytes).max(1);
        let width = self.dtype.bits() / 8;
        let mut is_asked = dtype != self.dtype && !dtype.is_sub_byte();
        let mut block = Vec::new();
        for first in (0..self.n_rows).step_by(rows_at_a_time) {
            let rows = first..self.n_rows.min(first + rows_at_a_time);
            let n_bytes = rows.len() * self.row_bytes;
            // What a block held before is written over.
            if is_asked {
                block.resize(n_bytes / width * dtype.bits() / 8, 0);
                is_asked = self.compute.fill_rows_as(rows.clone(), dtype, &mut block);
            }
            if is_asked {
                sink(dtype, &block)?;
                continue;
            }
            block.resize(n_bytes, 0);
            self.compute.fill_rows(rows, &mut block);
            sink(self.dtype, &block)?;
        }
        Ok(())
    }

    /// The tensor with its axes permuted, in memory: the result and one block are all that it takes.
    pub(super) fn permuted(&self, perm: &[usize]) -> HostTensor {
        let width = self.dtype.bits() / 8;
        let shape: Vec<usize> = perm.iter().map(|&p| self.shape[p]).collect();
        let mut strides = vec![0; perm.len()];
        for (&axis, stride) in perm.iter().zip(strides_of(&shape, width)) {
            strides[axis] = stride;
        }
        let mut out = vec![0; self.n_rows * self.row_bytes];
        let mut place = Odometer::new(&self.shape, strides);
        self.for_each_block(|block| {
            for element in block.chunks_exact(width) {
                out[place.offset..place.offset + width].copy_from_slice(element);
                place.advance();
            }
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
        HostTensor::new(self.dtype, shape, Bytes::from(out)).expect("invariant: a permutation keeps the element count")
    }
}

/// A tensor's elements in another order of its axes, in memory.
pub(super) fn permute(t: &HostTensor, perm: &[usize]) -> HostTensor {
    let shape: Vec<usize> = perm.iter().map(|&p| t.shape()[p]).collect();
    let width = t.dtype().bits() / 8;
    if width == 0 {
        let wide = t.cast(if t.dtype().is_signed_int() { DType::I8 } else { DType::U8 });
        return permute(&wide, perm).cast(t.dtype());
    }
    let strides = strides_of(t.shape(), width);
    let mut place = Odometer::new(&shape, perm.iter().map(|&p| strides[p]).collect());
    let (bytes, mut out) = (t.bytes(), Vec::with_capacity(t.bytes().len()));
    for _ in 0..t.len() {
        out.extend_from_slice(&bytes[place.offset..place.offset + width]);
        place.advance();
    }
    HostTensor::new(t.dtype(), shape, Bytes::from(out)).expect("invariant: a permutation keeps the element count")
}

/// Bytes from one index of each axis to the next.
fn strides_of(shape: &[usize], width: usize) -> Vec<usize> {
    let mut strides = vec![width; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1];
    }
    strides
}

/// Walks through a shape in row-major order and keeps the offset that other strides give.
struct Odometer<'s> {
    shape: &'s [usize],
    strides: Vec<usize>,
    index: Vec<usize>,
    offset: usize,
}

impl<'s> Odometer<'s> {
    fn new(shape: &'s [usize], strides: Vec<usize>) -> Self {
        Self { shape, strides, index: vec![0; shape.len()], offset: 0 }
    }

    fn advance(&mut self) {
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.offset += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.offset -= self.strides[axis] * self.shape[axis];
            self.index[axis] = 0;
        }
    }
}
