//! Tensors as the interpreter holds them: three kinds of elements, whatever the declared type.
//!
//! Floats of every width are `f32`, integers of every width `i64`, and the interpreter rounds or wraps
//! them to the declared type. Data is shared, so that reshaping and passing on cost nothing, and a kernel
//! that holds the last reference may overwrite it.

use crate::{OpFault, kernel::weights::round_to_half};
use half::{bf16, f16};
use host_tensor::{DType, HostTensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Tensors of at least this many elements are worked on by several threads.
pub(super) const PARALLEL_ELEMENTS: usize = 1 << 16;

/// Shared elements.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// Any floating-point type.
    Float(Arc<Vec<f32>>),
    /// Any integer type.
    Int(Arc<Vec<i64>>),
    /// Booleans.
    Bool(Arc<Vec<bool>>),
}

/// An element kind, for kernels that only move elements.
pub(super) trait Element: Copy + Default + Send + Sync + PartialEq + 'static {
    /// The elements, when they are of this kind.
    fn view(data: &Data) -> Option<&[Self]>;
    /// Elements of this kind as data.
    fn wrap(values: Vec<Self>) -> Data;
}

macro_rules! element {
    ($t:ty, $variant:ident) => {
        impl Element for $t {
            fn view(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$variant(v) => Some(v),
                    _ => None,
                }
            }
            fn wrap(values: Vec<Self>) -> Data {
                Data::$variant(Arc::new(values))
            }
        }
        impl From<Vec<$t>> for Data {
            fn from(values: Vec<$t>) -> Self {
                <$t as Element>::wrap(values)
            }
        }
    };
}
element!(f32, Float);
element!(i64, Int);
element!(bool, Bool);

/// Evaluates `$body` with `$T` standing for the element kind of `$data`.
macro_rules! for_kind {
    ($data:expr, $T:ident => $body:expr) => {
        match $data {
            $crate::reference::value::Data::Float(_) => {
                type $T = f32;
                $body
            }
            $crate::reference::value::Data::Int(_) => {
                type $T = i64;
                $body
            }
            $crate::reference::value::Data::Bool(_) => {
                type $T = bool;
                $body
            }
        }
    };
}
pub(super) use for_kind;

impl Data {
    fn len(&self) -> usize {
        for_kind!(self, T => self.view::<T>().map_or(0, <[T]>::len))
    }

    fn view<T: Element>(&self) -> Option<&[T]> {
        T::view(self)
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Int(_) => "int",
            Self::Bool(_) => "bool",
        }
    }
}

/// A tensor at run time.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor; the data fills the shape.
    pub(crate) fn new(shape: impl Into<Vec<usize>>, data: impl Into<Data>) -> Self {
        let (shape, data) = (shape.into(), data.into());
        debug_assert_eq!(host_tensor::element_count(&shape), Some(data.len()), "{shape:?}");
        Self { shape, data }
    }

    /// What a tensor from outside holds.
    pub(crate) fn from_host(t: &HostTensor) -> Self {
        let data: Data = match t.dtype() {
            DType::Bool => t.bytes().iter().map(|&b| b != 0).collect::<Vec<_>>().into(),
            d if d.is_float() => t.to_f32_vec().into(),
            _ => t.to_i64_vec().into(),
        };
        Self::new(t.shape(), data)
    }

    /// The tensor with elements of type `dtype`, for the world outside.
    pub(crate) fn to_host(&self, dtype: DType) -> HostTensor {
        let shape = self.shape.clone();
        match &self.data {
            Data::Float(v) => HostTensor::from_f32(shape, v.to_vec()).cast(dtype),
            Data::Bool(v) => HostTensor::from_bool(shape, v).cast(dtype),
            Data::Int(v) => {
                let bytes: Vec<u8> = v.iter().flat_map(|i| i.to_le_bytes()).collect();
                let wide = HostTensor::new(DType::I64, shape, bytes.into());
                wide.expect("invariant: the data fills the shape").cast(dtype)
            }
        }
    }

    /// Dimensions.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// The elements, whatever their kind.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// `float`, `int` or `bool`.
    pub(super) const fn kind(&self) -> &'static str {
        self.data.kind()
    }

    /// The elements as kind `T`.
    pub(super) fn view<T: Element>(&self) -> Result<&[T], OpFault> {
        self.data.view().ok_or_else(|| wrong_kind(T::wrap(Vec::new()).kind(), self.kind(), &self.shape))
    }

    /// Elements of a float tensor.
    pub(crate) fn floats(&self) -> Result<&[f32], OpFault> {
        self.view()
    }

    /// Elements of an integer tensor.
    pub(crate) fn ints(&self) -> Result<&[i64], OpFault> {
        self.view()
    }

    /// Elements of a boolean tensor.
    pub(super) fn bools(&self) -> Result<&[bool], OpFault> {
        self.view()
    }

    /// Elements of a float tensor, for writing; copied first when they are shared.
    pub(super) fn floats_mut(&mut self) -> Result<&mut [f32], OpFault> {
        match &mut self.data {
            Data::Float(v) => Ok(Arc::make_mut(v).as_mut_slice()),
            other => Err(wrong_kind("float", other.kind(), &self.shape)),
        }
    }

    /// Elements of an integer tensor, for writing; copied first when they are shared.
    pub(super) fn ints_mut(&mut self) -> Result<&mut [i64], OpFault> {
        match &mut self.data {
            Data::Int(v) => Ok(Arc::make_mut(v).as_mut_slice()),
            other => Err(wrong_kind("int", other.kind(), &self.shape)),
        }
    }

    /// True when nobody else holds the elements.
    pub(super) fn is_unshared(&mut self) -> bool {
        match &mut self.data {
            Data::Float(v) => Arc::get_mut(v).is_some(),
            Data::Int(v) => Arc::get_mut(v).is_some(),
            Data::Bool(v) => Arc::get_mut(v).is_some(),
        }
    }

    /// The same elements under another shape of as many elements.
    pub(super) fn with_shape(self, shape: impl Into<Vec<usize>>) -> Self {
        Self::new(shape, self.data)
    }
}

fn wrong_kind(expected: &'static str, actual: &str, shape: &[usize]) -> OpFault {
    OpFault::Kind { param: "operand".into(), expected, actual: format!("{actual}{shape:?}") }
}

/// Memory for `n` elements, or a named fault instead of an abort.
pub(super) fn reserve<T>(n: usize) -> Result<Vec<T>, OpFault> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| OpFault::OutOfMemory { elements: n })?;
    Ok(v)
}

/// `n` copies of `value`.
pub(super) fn filled<T: Clone>(n: usize, value: T) -> Result<Vec<T>, OpFault> {
    let mut v = reserve(n)?;
    v.resize(n, value);
    Ok(v)
}

/// Replaces each element by `f` of it, on several threads when there are many.
pub(super) fn map_in_place<T: Send + Copy>(values: &mut [T], f: impl Fn(T) -> T + Sync) {
    let apply = |chunk: &mut [T]| chunk.iter_mut().for_each(|v| *v = f(*v));
    if values.len() < PARALLEL_ELEMENTS {
        apply(values);
    } else {
        values.par_chunks_mut(PARALLEL_ELEMENTS / 4).for_each(apply);
    }
}

/// `f` of each element, on several threads when there are many.
pub(super) fn map<A: Copy + Sync, B: Send + Clone + Default>(
    values: &[A],
    f: impl Fn(A) -> B + Sync,
) -> Result<Vec<B>, OpFault> {
    if values.len() < PARALLEL_ELEMENTS {
        let mut out = reserve(values.len())?;
        out.extend(values.iter().map(|&v| f(v)));
        return Ok(out);
    }
    let mut out = filled(values.len(), B::default())?;
    out.par_chunks_mut(PARALLEL_ELEMENTS / 4).zip(values.par_chunks(PARALLEL_ELEMENTS / 4)).for_each(|(o, v)| {
        o.iter_mut().zip(v).for_each(|(o, &v)| *o = f(v));
    });
    Ok(out)
}

/// The nearest value of a float type, ties to even.
pub(super) fn round_to(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(x).to_f32(),
        DType::BF16 => bf16::from_f32(x).to_f32(),
        _ => x,
    }
}

/// Rounds every element to the nearest value of a float type.
pub(super) fn round_all(dtype: DType, values: &mut [f32]) {
    match dtype {
        DType::F16 if values.len() < PARALLEL_ELEMENTS => round_to_half(values),
        DType::F16 => values.par_chunks_mut(PARALLEL_ELEMENTS / 4).for_each(round_to_half),
        DType::BF16 => map_in_place(values, |x| round_to(DType::BF16, x)),
        _ => {}
    }
}

/// An integer as a narrower type stores it, by wrapping.
pub(super) const fn wrap_int(dtype: DType, v: i64) -> i64 {
    match dtype {
        DType::I4 => (v << 60) >> 60,
        DType::I8 => v as i8 as i64,
        DType::I16 => v as i16 as i64,
        DType::I32 => v as i32 as i64,
        DType::U1 => v & 1,
        DType::U2 => v & 3,
        DType::U3 => v & 7,
        DType::U4 => v & 15,
        DType::U6 => v & 63,
        DType::U8 => v as u8 as i64,
        DType::U16 => v as u16 as i64,
        DType::U32 => v as u32 as i64,
        _ => v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_the_same_alone_and_in_bulk() {
        let mut values: Vec<f32> = (0..70_000u32).map(|i| f32::from_bits(i.wrapping_mul(61_681))).collect();
        let alone: Vec<u32> = values.iter().map(|&v| round_to(DType::F16, v).to_bits()).collect();
        round_all(DType::F16, &mut values);
        for (a, b) in alone.iter().zip(&values) {
            assert!(*a == b.to_bits() || b.is_nan());
        }
    }

    #[test]
    fn integers_wrap_to_their_width() {
        assert_eq!(wrap_int(DType::I8, 130), -126);
        assert_eq!(wrap_int(DType::U16, -1), 65535);
        assert_eq!(wrap_int(DType::I4, 9), -7);
        assert_eq!(wrap_int(DType::I32, 1 << 31), -(1 << 31));
    }

    #[test]
    fn memory_that_is_not_there_is_a_fault() {
        assert_eq!(filled(usize::MAX / 8, 0f32).unwrap_err(), OpFault::OutOfMemory { elements: usize::MAX / 8 });
    }
}
