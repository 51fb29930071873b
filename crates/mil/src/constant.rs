//! Constants: tensors that may still lie in a checkpoint, and literals of every other type.

use crate::types::{Dim, TensorType, Type};
use host_tensor::{Bytes, DType, HostTensor, convert_bytes, element_count};
use std::{hash::Hash, sync::Arc};

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
}

/// A constant tensor: a lazy view of shared bytes.
///
/// Its value is `cast(reshape(transpose(source, perm), shape), dtype)`, computed only when it is read.
/// So a weight costs no memory before it is written, whatever the checkpoint stores.
#[derive(Debug, Clone)]
pub struct Const {
    dtype: DType,
    shape: Vec<usize>,
    source: HostTensor,
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
        Self { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), source: tensor, perm: None, location: None }
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

    /// The bytes behind the view, before transposition and cast.
    #[must_use]
    pub fn source(&self) -> &HostTensor {
        &self.source
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
        let composed: Vec<usize> = match &self.perm {
            None if self.source.shape() == self.shape => perm.to_vec(),
            Some(old) if self.shape.iter().copied().eq(old.iter().map(|&p| self.source.shape()[p])) => {
                perm.iter().map(|&p| old[p]).collect()
            }
            // A reshape lies between: settle this view first.
            _ => return Self::new(self.read()).transpose(perm),
        };
        let identity = composed.iter().enumerate().all(|(i, &p)| i == p);
        Ok(Self { shape, perm: (!identity).then(|| composed.into()), location: None, ..self.clone() })
    }

    /// The value converted to another element type.
    ///
    /// Conversions that are exact so far are skipped, so that f16 bytes seen as f32 and cast to f16 again
    /// are the checkpoint's own bytes.
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
        if widened { Self { dtype, location: None, ..self.clone() } } else { Self { dtype, ..Self::new(self.read()) } }
    }

    /// The value, computed.
    #[must_use]
    pub fn read(&self) -> HostTensor {
        if self.stored().is_some() {
            return self.source.reshape(self.shape.clone()).expect("invariant: element counts agree");
        }
        let mut data = Vec::with_capacity(self.dtype.byte_len(self.len()).unwrap_or(0));
        self.for_each_chunk(|chunk| {
            data.extend_from_slice(chunk);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap_or_else(|never| match never {});
        HostTensor::new(self.dtype, self.shape.clone(), Bytes::from(data)).expect("invariant: element counts agree")
    }

    /// Passes the value's bytes to `sink`, a few MiB at a time, in order.
    ///
    /// # Errors
    /// What `sink` returns.
    pub fn for_each_chunk<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (from, n) = (self.source.dtype(), self.len());
        let settled = match &self.perm {
            None => self.source.clone(),
            Some(perm) => permute(&self.source, perm),
        };
        let bytes = settled.bytes();
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

    /// The value's bytes where they lie; `None` when a transposition or a cast must compute them.
    #[must_use]
    pub fn stored(&self) -> Option<&Bytes> {
        (self.perm.is_none() && self.source.dtype() == self.dtype).then(|| self.source.bytes())
    }

    /// True when both are views of the same bytes with the same value, decided without reading them.
    #[must_use]
    pub fn same_view(&self, other: &Self) -> bool {
        let (a, b) = (self.source.bytes(), other.source.bytes());
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.perm == other.perm
            && self.source.dtype() == other.source.dtype()
            && self.source.shape() == other.source.shape()
            && a.as_ptr() == b.as_ptr()
            && a.len() == b.len()
    }
}

/// Equal types and equal bytes.
impl PartialEq for Const {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && (self.same_view(other) || self.read().bytes() == other.read().bytes())
    }
}

/// Transposes byte-sized elements into owned bytes.
fn permute(t: &HostTensor, perm: &[usize]) -> HostTensor {
    let shape: Vec<usize> = perm.iter().map(|&p| t.shape()[p]).collect();
    let width = t.dtype().bits() / 8;
    if width == 0 {
        let wide = t.cast(if t.dtype().is_signed_int() { DType::I8 } else { DType::U8 });
        return permute(&wide, perm).cast(t.dtype());
    }
    let mut strides = vec![width; t.shape().len()];
    for i in (0..strides.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * t.shape()[i + 1];
    }
    let strides: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
    let (bytes, mut out) = (t.bytes(), Vec::with_capacity(t.bytes().len()));
    let mut index = vec![0usize; shape.len()];
    let mut offset = 0;
    for _ in 0..t.len() {
        out.extend_from_slice(&bytes[offset..offset + width]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    HostTensor::new(t.dtype(), shape, Bytes::from(out)).expect("invariant: a permutation keeps the element count")
}

/// A compile-time value of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A tensor.
    Tensor(Const),
    /// A tensor of strings, row major; a single string has an empty shape.
    Strings {
        /// Shape.
        shape: Vec<usize>,
        /// As many strings as the shape has elements.
        values: Vec<Arc<str>>,
    },
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A list; the element type is kept for empty lists.
    List(Type, Vec<Literal>),
    /// A map in its stored order: key type, value type, entries.
    Dict(Type, Type, Vec<(Literal, Literal)>),
}

impl Literal {
    /// A single string.
    #[must_use]
    pub fn string(s: impl Into<Arc<str>>) -> Self {
        Self::Strings { shape: Vec::new(), values: vec![s.into()] }
    }

    /// A boolean scalar.
    #[must_use]
    pub fn bool(b: bool) -> Self {
        Self::Tensor(Const::new(HostTensor::from_bool([], &[b])))
    }

    /// An `int32` scalar.
    #[must_use]
    pub fn int(i: i32) -> Self {
        Self::Tensor(Const::new(HostTensor::from_i32([], vec![i])))
    }

    /// An `int32` vector.
    #[must_use]
    pub fn ints(values: &[i32]) -> Self {
        Self::Tensor(Const::new(HostTensor::from_i32([values.len()], values.to_vec())))
    }

    /// An `fp32` scalar.
    #[must_use]
    pub fn float(x: f32) -> Self {
        Self::Tensor(Const::new(HostTensor::from_f32([], vec![x])))
    }

    /// The type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Tensor(c) => Type::Tensor(c.ty()),
            Self::Strings { shape, .. } => Type::Strings(shape.iter().map(|&d| Dim::Size(d)).collect()),
            Self::Tuple(items) => Type::Tuple(items.iter().map(Self::ty).collect()),
            Self::List(t, items) => Type::List(Box::new(t.clone()), Dim::Size(items.len())),
            Self::Dict(k, v, _) => Type::Dict(Box::new(k.clone()), Box::new(v.clone())),
        }
    }

    /// The tensor constant, when it is one.
    #[must_use]
    pub const fn as_const(&self) -> Option<&Const> {
        match self {
            Self::Tensor(c) => Some(c),
            _ => None,
        }
    }

    /// The string, when it is a single one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Strings { shape, values } if shape.is_empty() => values.first().map(|s| &**s),
            _ => None,
        }
    }

    /// All elements of an integer (or boolean) tensor.
    #[must_use]
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        self.as_const().filter(|c| !c.dtype().is_float()).map(|c| c.read().to_i64_vec())
    }

    /// All elements of a numeric tensor, as `f32`.
    #[must_use]
    pub fn as_floats(&self) -> Option<Vec<f32>> {
        self.as_const().map(|c| c.read().to_f32_vec())
    }

    /// The value of a boolean scalar.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        self.as_const().filter(|c| c.len() == 1 && c.dtype() == DType::Bool).map(|c| c.read().bytes()[0] != 0)
    }
}

impl From<Const> for Literal {
    fn from(c: Const) -> Self {
        Self::Tensor(c)
    }
}

impl From<HostTensor> for Literal {
    fn from(t: HostTensor) -> Self {
        Self::Tensor(Const::new(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_transposes_reshapes_and_casts_when_it_is_read() {
        let base = Const::new(HostTensor::from_f32([2, 3], vec![1., 2., 3., 4., 5., 6.]));
        let view = base.transpose(&[1, 0]).unwrap().reshape([3, 2, 1]).unwrap().cast(DType::F16);
        assert_eq!(view.ty(), TensorType::fixed(DType::F16, &[3, 2, 1]));
        assert_eq!(view.read().to_f32_vec(), [1., 4., 2., 5., 3., 6.]);
        assert!(base.transpose(&[1, 0]).unwrap().transpose(&[1, 0]).unwrap().same_view(&base));
        assert!(base.transpose(&[0, 0]).is_err());
    }

    #[test]
    fn a_transposition_after_a_reshape_is_right() {
        let base = Const::new(HostTensor::from_f32([6], (0..6u8).map(f32::from).collect()));
        let t = base.reshape([2, 3]).unwrap().transpose(&[1, 0]).unwrap();
        assert_eq!(t.read().to_f32_vec(), [0., 3., 1., 4., 2., 5.]);
    }

    #[test]
    fn halves_seen_as_floats_and_cast_back_are_the_same_bytes() {
        let half = Const::new(HostTensor::from_f16([3], &[1.0, 0.1, -2.5]));
        let back = half.cast(DType::F32).cast(DType::F16);
        assert!(back.same_view(&half));
        let lossy = Const::new(HostTensor::from_f32([1], vec![0.1])).cast(DType::F16).cast(DType::F32);
        assert_eq!(lossy.read().to_f32_vec(), [0.099_975_586]);
    }
}
