//! The tensor itself, and conversion between element types.

use crate::{Bytes, DType, element_count, strips, unpack_bits_at};
use half::{bf16, f16};

/// Why bytes are not a tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape's element count or byte count does not fit in `usize`.
    #[error("shape {shape:?} of {dtype} is too large")]
    TooLarge {
        /// Element type.
        dtype: DType,
        /// The refused shape.
        shape: Vec<usize>,
    },
    /// The byte count differs from what the shape needs.
    #[error("{dtype} tensor of shape {shape:?} needs {expected} bytes, got {actual}")]
    WrongLength {
        /// Element type.
        dtype: DType,
        /// Declared shape.
        shape: Vec<usize>,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
}

/// A tensor in host memory: element type, shape, and shared little-endian bytes in row-major order.
#[derive(Clone, PartialEq, Eq)]
pub struct HostTensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl HostTensor {
    /// Wraps `data` without copying it.
    ///
    /// # Errors
    /// When the byte count is not what dtype and shape need.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>, data: Bytes) -> Result<Self, TensorError> {
        let shape = shape.into();
        let Some(expected) = element_count(&shape).and_then(|n| dtype.byte_len(n)) else {
            return Err(TensorError::TooLarge { dtype, shape });
        };
        if expected != data.len() {
            return Err(TensorError::WrongLength { dtype, shape, expected, actual: data.len() });
        }
        Ok(Self { dtype, shape, data })
    }

    /// An `f32` tensor.
    ///
    /// # Panics
    /// When the number of values is not the shape's.
    #[must_use]
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self::from_le(DType::F32, shape.into(), values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An `f16` tensor; each value is rounded to nearest, ties to even.
    ///
    /// # Panics
    /// When the number of values is not the shape's.
    #[must_use]
    pub fn from_f16(shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let data = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        Self::from_le(DType::F16, shape.into(), values.len(), data)
    }

    /// An `int32` tensor.
    ///
    /// # Panics
    /// When the number of values is not the shape's.
    #[must_use]
    pub fn from_i32(shape: impl Into<Vec<usize>>, values: Vec<i32>) -> Self {
        Self::from_le(DType::I32, shape.into(), values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A boolean tensor.
    ///
    /// # Panics
    /// When the number of values is not the shape's.
    #[must_use]
    pub fn from_bool(shape: impl Into<Vec<usize>>, values: &[bool]) -> Self {
        Self::from_le(DType::Bool, shape.into(), values.len(), values.iter().map(|&v| u8::from(v)).collect())
    }

    /// A scalar of any byte-sized type, converted from `value` as [`HostTensor::cast`] converts.
    #[must_use]
    pub fn scalar(dtype: DType, value: f64) -> Self {
        let wide = Self::from_le(DType::F64, Vec::new(), 1, value.to_le_bytes().to_vec());
        wide.cast(dtype)
    }

    fn from_le(dtype: DType, shape: Vec<usize>, n_values: usize, data: Vec<u8>) -> Self {
        assert_eq!(element_count(&shape), Some(n_values), "values do not fill shape {shape:?}");
        Self { dtype, shape, data: Bytes::from(data) }
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        element_count(&self.shape).expect("invariant: checked at construction")
    }

    /// True when a dimension is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the element counts differ.
    pub fn reshape(&self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        Self::new(self.dtype, shape, self.data.clone())
    }

    /// All elements as `f32`: wider types are rounded, booleans are 0 and 1.
    #[must_use]
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match self.dtype {
            DType::F32 => self.data.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect(),
            DType::F16 | DType::BF16 => {
                let wide = convert_bytes(self.dtype, DType::F32, &self.data, self.len());
                wide.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
            }
            _ => (0..self.len()).map(|i| element_f64(self.dtype, &self.data, i) as f32).collect(),
        }
    }

    /// All elements as `i64`: floats are truncated toward zero and saturate, NaN is 0.
    #[must_use]
    pub fn to_i64_vec(&self) -> Vec<i64> {
        (0..self.len()).map(|i| element_i64(self.dtype, &self.data, i)).collect()
    }

    /// All elements as booleans: anything but zero is true.
    #[must_use]
    pub fn to_bool_vec(&self) -> Vec<bool> {
        (0..self.len()).map(|i| element_f64(self.dtype, &self.data, i) != 0.0).collect()
    }

    /// The tensor with its elements converted.
    ///
    /// Floats round to nearest, ties to even, and overflow to infinity.
    /// Floats become integers by truncation toward zero; what does not fit saturates (NaN gives 0).
    /// Integers narrow by wrapping, as numpy's `astype` does.
    /// Anything but zero becomes `true`.
    #[must_use]
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype {
            return self.clone();
        }
        let data = convert_bytes(self.dtype, dtype, &self.data, self.len());
        Self { dtype, shape: self.shape.clone(), data: Bytes::from(data) }
    }
}

impl std::fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)?;
        if self.len() <= 16 {
            let values: Vec<f64> = (0..self.len()).map(|i| element_f64(self.dtype, &self.data, i)).collect();
            write!(f, "{values:?}")?;
        }
        Ok(())
    }
}

/// Converts `n` packed elements from one type to another, by the rules of [`HostTensor::cast`].
///
/// A long tensor may be converted piece by piece; for types narrower than a byte a piece must begin at
/// a byte boundary.
#[must_use]
pub fn convert_bytes(from: DType, to: DType, bytes: &[u8], n: usize) -> Vec<u8> {
    if from == to {
        return bytes.to_vec();
    }
    if let Some(out) = strips::convert(from, to, bytes, n) {
        return out;
    }
    match to {
        _ if to.is_sub_byte() => {
            let low: Vec<u8> = (0..n).map(|i| element_i64(from, bytes, i) as u8).collect();
            crate::pack_bits(&low, to.bits())
        }
        _ => (0..n).flat_map(|i| encode_element(from, to, bytes, i)).collect(),
    }
}

/// Converts elements that lie one after another to f32, into `out`, which is as long as they are many.
///
/// Of f16, bf16 and f32 as fast as memory is read; other types as [`convert_bytes`] does it.
pub fn to_singles(from: DType, bytes: &[u8], out: &mut [f32]) {
    if !strips::read(from, bytes, out) {
        let wide = convert_bytes(from, DType::F32, bytes, out.len());
        out.iter_mut().zip(wide.as_chunks().0).for_each(|(out, &word)| *out = f32::from_le_bytes(word));
    }
}

/// Converts f32 to elements of `to`, little-endian and packed, into `out`, which is as long as they are.
///
/// To f16, bf16 and f32 as fast as memory is written; to other types as [`convert_bytes`] does it.
pub fn from_singles(values: &[f32], to: DType, out: &mut [u8]) {
    if !strips::write(values, to, out) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let made = convert_bytes(DType::F32, to, &bytes, values.len());
        out.iter_mut().zip(made).for_each(|(out, byte)| *out = byte);
    }
}

/// One element, converted to a byte-sized type.
fn encode_element(from: DType, to: DType, bytes: &[u8], i: usize) -> impl Iterator<Item = u8> + use<> {
    let real = || element_f64(from, bytes, i);
    let int = element_i64(from, bytes, i);
    let saturate = |lo: i64, hi: i64| if from.is_float() { int.clamp(lo, hi) } else { int };
    let (wide, width): ([u8; 8], usize) = match to {
        DType::Bool => ([u8::from(real() != 0.0), 0, 0, 0, 0, 0, 0, 0], 1),
        DType::F16 => (pad(&crate::f16_from_f64(real()).to_le_bytes()), 2),
        DType::BF16 => (pad(&bf16::from_f64(real()).to_le_bytes()), 2),
        DType::F32 => (pad(&(real() as f32).to_le_bytes()), 4),
        DType::F64 => (real().to_le_bytes(), 8),
        DType::I8 => (saturate(i8::MIN.into(), i8::MAX.into()).to_le_bytes(), 1),
        DType::U8 => (saturate(0, u8::MAX.into()).to_le_bytes(), 1),
        DType::I16 => (saturate(i16::MIN.into(), i16::MAX.into()).to_le_bytes(), 2),
        DType::U16 => (saturate(0, u16::MAX.into()).to_le_bytes(), 2),
        DType::I32 => (saturate(i32::MIN.into(), i32::MAX.into()).to_le_bytes(), 4),
        DType::U32 => (saturate(0, u32::MAX.into()).to_le_bytes(), 4),
        _ => (int.to_le_bytes(), 8),
    };
    wide.into_iter().take(width)
}

fn pad(bytes: &[u8]) -> [u8; 8] {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    wide
}

fn le<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[i * N..i * N + N]);
    word
}

/// Element `i` as `f64`; exact for every type but the 64-bit integers.
fn element_f64(dtype: DType, bytes: &[u8], i: usize) -> f64 {
    match dtype {
        DType::F16 => f16::from_le_bytes(le(bytes, i)).to_f64(),
        DType::BF16 => bf16::from_le_bytes(le(bytes, i)).to_f64(),
        DType::F32 => f32::from_le_bytes(le(bytes, i)).into(),
        DType::F64 => f64::from_le_bytes(le(bytes, i)),
        DType::U64 => u64::from_le_bytes(le(bytes, i)) as f64,
        _ => element_i64(dtype, bytes, i) as f64,
    }
}

fn element_i64(dtype: DType, bytes: &[u8], i: usize) -> i64 {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => element_f64(dtype, bytes, i) as i64,
        DType::I4 => i64::from((unpack_bits_at(bytes, 4, i) << 4) as i8 >> 4),
        DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 => unpack_bits_at(bytes, dtype.bits(), i).into(),
        DType::Bool | DType::U8 => bytes[i].into(),
        DType::I8 => i64::from(bytes[i] as i8),
        DType::I16 => i16::from_le_bytes(le(bytes, i)).into(),
        DType::U16 => u16::from_le_bytes(le(bytes, i)).into(),
        DType::I32 => i32::from_le_bytes(le(bytes, i)).into(),
        DType::U32 => u32::from_le_bytes(le(bytes, i)).into(),
        DType::I64 | DType::U64 => i64::from_le_bytes(le(bytes, i)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_must_match_the_shape() {
        let err = HostTensor::new(DType::F16, [2, 3], Bytes::from_static(&[0; 11])).unwrap_err();
        assert_eq!(err.to_string(), "fp16 tensor of shape [2, 3] needs 12 bytes, got 11");
        assert!(matches!(
            HostTensor::new(DType::F32, [1 << 60, 1 << 60], Bytes::new()),
            Err(TensorError::TooLarge { .. })
        ));
    }

    #[test]
    fn floats_truncate_and_saturate_when_they_become_integers() {
        let t = HostTensor::from_f32([5], vec![-1.9, 2.9, 300.0, f32::NAN, -300.0]);
        assert_eq!(t.cast(DType::I8).to_i64_vec(), [-1, 2, 127, 0, -128]);
        assert_eq!(t.cast(DType::U8).to_i64_vec(), [0, 2, 255, 0, 0]);
        assert_eq!(t.cast(DType::Bool).to_i64_vec(), [1, 1, 1, 1, 1]);
    }

    #[test]
    fn integers_wrap_when_they_narrow() {
        assert_eq!(HostTensor::from_i32([2], vec![-1, 257]).cast(DType::U8).to_i64_vec(), [255, 1]);
    }

    #[test]
    fn halves_round_to_even_and_overflow_to_infinity() {
        let t = HostTensor::from_f32([4], vec![2049.0, 2051.0, 65520.0, 1e-8]).cast(DType::F16);
        assert_eq!(t.to_f32_vec(), [2048.0, 2052.0, f32::INFINITY, 0.0]);
    }

    #[test]
    fn four_bit_integers_are_signed_nibbles() {
        let t = HostTensor::from_i32([3], vec![-8, 7, -1]).cast(DType::I4);
        assert_eq!(&t.bytes()[..], [0x78, 0x0F]);
        assert_eq!(t.to_i64_vec(), [-8, 7, -1]);
    }

    #[test]
    fn every_half_survives_the_way_through_f32() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let wide = convert_bytes(DType::F16, DType::F32, &all, 65536);
        let back = convert_bytes(DType::F32, DType::F16, &wide, 65536);
        for (a, b) in all.chunks(2).zip(back.chunks(2)) {
            let (a, b) = (f16::from_le_bytes([a[0], a[1]]), f16::from_le_bytes([b[0], b[1]]));
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
        }
    }

    #[test]
    fn values_are_read_and_written_where_they_are_wanted() {
        let n = 515;
        let values: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 60.0).collect();
        let wide: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64, DType::I8, DType::U4] {
            let expected = convert_bytes(DType::F32, dtype, &wide, n);
            let mut bytes = vec![0; expected.len()];
            from_singles(&values, dtype, &mut bytes);
            assert_eq!(bytes, expected, "{dtype}");
            let mut back = vec![0.0; n];
            to_singles(dtype, &bytes, &mut back);
            let wanted = convert_bytes(dtype, DType::F32, &bytes, n);
            assert!(back.iter().flat_map(|x| x.to_le_bytes()).eq(wanted), "{dtype}");
        }
    }
}
