//! Constants: tensors that still lie in a checkpoint or are computed from one, and literals of every other type.

mod crop;
mod literal;
mod source;
#[cfg(test)]
mod tests;

pub use literal::Literal;
pub use source::{Compute, SourceId};

use crate::types::TensorType;
use host_tensor::{Bytes, DType, Exceptions, HostTensor, convert_bytes, element_count};
use source::{Computed, Source, permute};
use std::{convert::Infallible, ops::Range, sync::Arc};

/// Where a constant was read from; only a note for printers, no part of its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobLocation {
    /// File name as the program spells it, for example `@model_path/weights/weight.bin`.
    pub file: Arc<str>,
    /// Offset of the blob's metadata record in bytes.
    pub offset: u64,
}

/// Why a constant cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstError {
    /// The element counts differ.
    #[error("a constant of shape {shape:?} cannot view {source_shape:?}: the element counts differ")]
    Count {
        /// Wanted shape.
        shape: Vec<usize>,
        /// Shape of the source.
        source_shape: Vec<usize>,
    },
    /// The permutation is not one of the source's axes.
    #[error("{perm:?} is not a permutation of {rank} axes")]
    Permutation {
        /// Refused permutation.
        perm: Vec<usize>,
        /// Rank of the source.
        rank: usize,
    },
    /// The part is not inside.
    #[error("{ranges:?} is not a part of a constant with shape {shape:?}")]
    Crop {
        /// Refused ranges, one for each axis.
        ranges: Vec<Range<usize>>,
        /// Shape of the constant.
        shape: Vec<usize>,
    },
    /// A computation promises what no tensor is.
    #[error(
        "a constant of {dtype} with shape {shape:?} cannot be computed by rows: its type must be of whole bytes, and its size must fit in memory's addresses"
    )]
    Computed {
        /// Element type.
        dtype: DType,
        /// Shape.
        shape: Vec<usize>,
    },
}

/// A constant tensor: a lazy view of shared bytes, or of a tensor that is computed by rows.
///
/// Its value is `cast(reshape(transpose(source, perm), shape), dtype)`, computed only when it is read.
/// So a weight costs no memory before it is written, whatever the checkpoint stores.
///
/// What reading takes: [`for_each_chunk`](Self::for_each_chunk) a few MiB, and for a transposed view one copy of the
/// source besides; [`read`](Self::read) the value as well, unless it is [`stored`](Self::stored).
#[derive(Debug, Clone)]
pub struct Const {
    dtype: DType,
    shape: Vec<usize>,
    source: Source,
    perm: Option<Arc<[usize]>>,
    /// Where it was read from, if it came out of a package.
    pub location: Option<BlobLocation>,
}

/// Elements that are converted at a time when a constant is streamed.
const CHUNK_ELEMENTS: usize = 1 << 20;

impl Const {
    /// A constant with the value of `tensor`.
    #[must_use]
    pub fn new(tensor: HostTensor) -> Self {
        Self::of(Source::Stored(tensor))
    }

    /// A constant with the value that `compute` gives, which is computed again whenever it is read.
    ///
    /// Constants that share `compute` and view it alike are the same, as those that share bytes are.
    ///
    /// # Errors
    /// When its element type is narrower than a byte, or its shape too large.
    pub fn computed(compute: Arc<dyn Compute>) -> Result<Self, ConstError> {
        Ok(Self::of(Source::Computed(Computed::new(compute)?)))
    }

    fn of(source: Source) -> Self {
        Self { dtype: source.dtype(), shape: source.shape().to_vec(), source, perm: None, location: None }
    }

    /// Element type of the value.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape of the value.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        element_count(&self.shape).expect("invariant: the source has as many elements")
    }

    /// True when a dimension is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type before the view's cast.
    #[must_use]
    pub fn source_dtype(&self) -> DType {
        self.source.dtype()
    }

    /// Bytes of the whole source, stored or computed.
    #[must_use]
    pub fn source_bytes(&self) -> usize {
        self.source.n_bytes()
    }

    /// Which source this is a view of.
    ///
    /// Constants with equal ids are views of the same bytes or of the same computation while both live.
    #[must_use]
    pub fn source_id(&self) -> SourceId {
        self.source.id()
    }

    /// Values of the source, before the view's cast, that are not finite or would not be in f16.
    ///
    /// Reads everything, a few MiB at a time, unless a computation knows from its input that there are none.
    #[must_use]
    pub fn source_exceptions(&self) -> Exceptions {
        let mut found = Exceptions::default();
        match &self.source {
            Source::Stored(tensor) => found = Exceptions::of(tensor),
            Source::Computed(computed) if computed.is_known_to_fit_half() => {}
            Source::Computed(computed) => always(computed.for_each_block(|block| {
                found += Exceptions::of_bytes(computed.dtype(), block);
                Ok(())
            })),
        }
        found
    }

    /// The type of the value.
    #[must_use]
    pub fn ty(&self) -> TensorType {
        TensorType::fixed(self.dtype, &self.shape)
    }

    /// The same elements, in the same order, under another shape.
    ///
    /// # Errors
    /// When the element counts differ.
    pub fn reshape(&self, shape: impl Into<Vec<usize>>) -> Result<Self, ConstError> {
        let shape = shape.into();
        if element_count(&shape) != Some(self.len()) {
            return Err(ConstError::Count { shape, source_shape: self.shape.clone() });
        }
        Ok(Self { shape, ..self.clone() })
    }

    /// The value with its axes permuted: axis `i` of the result is axis `perm[i]` of this.
    ///
    /// A view whose axes a reshape has split before is computed first, and kept in memory.
    ///
    /// # Errors
    /// When `perm` is not a permutation of the axes.
    pub fn transpose(&self, perm: &[usize]) -> Result<Self, ConstError> {
        let rank = self.shape.len();
        let mut seen = vec![false; rank];
        let ok = perm.len() == rank && perm.iter().all(|&p| p < rank && !std::mem::replace(&mut seen[p], true));
        if !ok {
            return Err(ConstError::Permutation { perm: perm.to_vec(), rank });
        }
        let shape: Vec<usize> = perm.iter().map(|&p| self.shape[p]).collect();
        // A reshape that splits axes lies between: settle this view first.
        let Some(groups) = self.merged_axes() else { return Self::new(self.read()).transpose(perm) };
        let composed = perm.iter().flat_map(|&p| groups[p].clone()).collect::<Vec<_>>();
        let identity = composed.iter().enumerate().all(|(i, &p)| i == p);
        Ok(Self { shape, perm: (!identity).then(|| composed.into()), location: None, ..self.clone() })
    }

    /// The axes of the source that each axis of the value is made of; `None` where one of them was split.
    fn merged_axes(&self) -> Option<Vec<Vec<usize>>> {
        let sizes = self.source.shape();
        let order = self.perm.as_deref().map_or_else(|| (0..sizes.len()).collect(), <[usize]>::to_vec);
        let mut rest = order.into_iter();
        let mut groups = Vec::with_capacity(self.shape.len());
        for &size in &self.shape {
            let (mut group, mut product) = (Vec::new(), 1usize);
            while product != size {
                let axis = rest.next()?;
                product = product.checked_mul(sizes[axis])?;
                group.push(axis);
            }
            groups.push(group);
        }
        // What is left has no extent, for the element counts agree, and no place.
        match groups.last_mut() {
            Some(last) => last.extend(rest),
            None if rest.len() > 0 => return None,
            None => {}
        }
        Some(groups)
    }

    /// The part of the value whose indices lie in these ranges, one for each axis.
    ///
    /// Stored bytes, and parts of them, are cut while they are read; a view that transposes, or is computed otherwise, is
    /// computed first, and kept in memory.
    ///
    /// # Errors
    /// When the ranges are not inside the value, or its elements are no whole bytes.
    pub fn crop(&self, ranges: &[Range<usize>]) -> Result<Self, ConstError> {
        let part: Option<Arc<dyn Compute>> = match (&self.source, &self.perm) {
            (Source::Computed(computed), None) if computed.shape() == self.shape => computed.crop(ranges),
            _ => None,
        };
        let whole = || match (&self.source, &self.perm) {
            (Source::Stored(tensor), None) => tensor.reshape(self.shape.clone()).unwrap_or_else(|_| self.read()),
            _ => self.read(),
        };
        let crop = || crop::Crop::new(whole(), ranges).map(|crop| Arc::new(crop) as Arc<dyn Compute>);
        let refuse = || ConstError::Crop { ranges: ranges.to_vec(), shape: self.shape.clone() };
        Ok(Self::computed(part.or_else(crop).ok_or_else(refuse)?)?.cast(self.dtype))
    }

    /// The value converted to another element type.
    ///
    /// Conversions that are exact so far are skipped, so that f16 bytes seen as f32 and cast to f16 again
    /// are the checkpoint's own bytes.
    /// A second cast after one that is not exact computes the first, and keeps it in memory.
    #[must_use]
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype {
            return self.clone();
        }
        let widened = self.source.dtype() == self.dtype
            || matches!(
                (self.source.dtype(), self.dtype),
                (DType::F16 | DType::BF16, DType::F32 | DType::F64) | (DType::F32, DType::F64)
            );
        // Packed elements do not begin where computed rows do.
        let packs_rows = dtype.is_sub_byte() && matches!(self.source, Source::Computed(_));
        match widened && !packs_rows {
            true => Self { dtype, location: None, ..self.clone() },
            false => Self { dtype, ..Self::new(self.read()) },
        }
    }

    /// The value, computed.
    #[must_use]
    pub fn read(&self) -> HostTensor {
        if let (Source::Stored(tensor), Some(_)) = (&self.source, self.stored()) {
            return tensor.reshape(self.shape.clone()).expect("invariant: element counts agree");
        }
        let mut data = Vec::with_capacity(self.dtype.byte_len(self.len()).unwrap_or(0));
        always(self.for_each_chunk(|chunk| {
            data.extend_from_slice(chunk);
            Ok(())
        }));
        HostTensor::new(self.dtype, self.shape.clone(), Bytes::from(data)).expect("invariant: element counts agree")
    }

    /// Passes the value's bytes to `sink`, a few MiB at a time, in order.
    ///
    /// Rows of a computed source are asked for 16 MiB at a time, or one by one where one is longer.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn for_each_chunk<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let n = self.len();
        match (&self.source, &self.perm) {
            (Source::Stored(tensor), None) => self.convert(tensor.bytes(), n, &mut sink),
            (Source::Stored(tensor), Some(perm)) => self.convert(permute(tensor, perm).bytes(), n, &mut sink),
            (Source::Computed(computed), Some(perm)) => self.convert(computed.permuted(perm).bytes(), n, &mut sink),
            (Source::Computed(computed), None) => {
                let width = computed.dtype().bits() / 8;
                computed.for_each_block_as(self.dtype, |dtype, block| match dtype == self.dtype {
                    true => sink(block),
                    false => self.convert(block, block.len() / width, &mut sink),
                })
            }
        }
    }

    /// Passes `n` elements of the source to `sink` as elements of the value.
    fn convert<E>(&self, bytes: &[u8], n: usize, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let from = self.source.dtype();
        let mut start = 0;
        while start < n {
            let count = CHUNK_ELEMENTS.min(n - start);
            // Chunks are multiples of eight elements long, so packed types begin at a byte boundary.
            let offset = from.byte_len(start).expect("invariant: inside the source");
            let end = offset + from.byte_len(count).expect("invariant: inside the source");
            if from == self.dtype {
                sink(&bytes[offset..end])?;
            } else {
                sink(&convert_bytes(from, self.dtype, &bytes[offset..end], count))?;
            }
            start += count;
        }
        Ok(())
    }

    /// The value's bytes where they lie; `None` when a transposition, a cast or the source's computation must make them.
    #[must_use]
    pub fn stored(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Stored(tensor) if self.perm.is_none() && tensor.dtype() == self.dtype => Some(tensor.bytes()),
            _ => None,
        }
    }

    /// True when both are views of the same source with the same value, decided without reading them.
    #[must_use]
    pub fn same_view(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.perm == other.perm
            && self.source.dtype() == other.source.dtype()
            && self.source.shape() == other.source.shape()
            && self.source.id() == other.source.id()
    }
}

/// Equal types and equal bytes; they are read only where they are not the same view.
impl PartialEq for Const {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && (self.same_view(other) || self.has_bytes_of(other))
    }
}

impl Const {
    /// Whether a constant of the same type has the same bytes; one of the two is read whole.
    fn has_bytes_of(&self, other: &Self) -> bool {
        let (own, theirs) = if self.stored().is_some() { (self, other) } else { (other, self) };
        let whole = own.read();
        let mut rest = &whole.bytes()[..];
        let compared = theirs.for_each_chunk(|chunk| match rest.split_at_checked(chunk.len()) {
            Some((here, after)) if here == chunk => {
                rest = after;
                Ok(())
            }
            _ => Err(()),
        });
        compared.is_ok()
    }
}

/// The result of what cannot fail.
fn always<T>(result: Result<T, Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}
