//! Elements as files store them: those that are computed with, and eight-bit floats, which are decoded while they are read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use host_tensor::{DType, HostTensor, element_count, f16};
use mil::Compute;

use crate::{Weight, WeightError};

/// How a file stores an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Plain(DType),
    Small(SmallFloat),
}

/// A float of eight bits: a sign, an exponent and a fraction. Each has its exact value in half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SmallFloat {
    fraction_bits: u32,
    bias: i32,
    nan: Nan,
}

/// Which bit patterns are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nan {
    /// The largest exponent: infinity without a fraction, else none.
    Ieee,
    /// The largest exponent with the largest fraction; there are no infinities.
    Largest,
    /// Negative zero; there are no infinities.
    NegativeZero,
}

impl SmallFloat {
    // Micikevicius et al., FP8 Formats for Deep Learning (2022), table 1, as PyTorch 2.15 defines its types;
    // the two for processors that have no negative zero: Noune et al., 8-bit Numerical Formats (2022).
    pub(crate) const E4M3FN: Self = Self { fraction_bits: 3, bias: 7, nan: Nan::Largest };
    pub(crate) const E5M2: Self = Self { fraction_bits: 2, bias: 15, nan: Nan::Ieee };
    pub(crate) const E4M3FNUZ: Self = Self { fraction_bits: 3, bias: 8, nan: Nan::NegativeZero };
    pub(crate) const E5M2FNUZ: Self = Self { fraction_bits: 2, bias: 16, nan: Nan::NegativeZero };

    /// The value of a bit pattern.
    fn value(self, bits: u8) -> f32 {
        let magnitude = u32::from(bits & 0x7f);
        let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
        let is_largest = magnitude >> self.fraction_bits == 0x7f >> self.fraction_bits;
        let fraction = magnitude & ((1 << self.fraction_bits) - 1);
        match self.nan {
            Nan::Ieee if is_largest && fraction == 0 => return sign * f32::INFINITY,
            Nan::Ieee if is_largest => return f32::NAN,
            Nan::Largest if magnitude == 0x7f => return f32::NAN,
            Nan::NegativeZero if bits == 0x80 => return f32::NAN,
            _ => {}
        }
        let exponent = i32::from(bits & 0x7f) >> self.fraction_bits;
        let unit = (self.fraction_bits as i32) + self.bias;
        let (digits, scale) = match exponent {
            0 => (fraction, 1 - unit),
            _ => (fraction + (1 << self.fraction_bits), exponent - unit),
        };
        sign * digits as f32 * 2f32.powi(scale)
    }

    /// Every pattern's value in half precision.
    fn table(self) -> [[u8; 2]; 256] {
        std::array::from_fn(|bits| f16::from_f32(self.value(bits as u8)).to_le_bytes())
    }
}

impl Element {
    /// Bytes of so many.
    pub(crate) fn byte_len(self, n: usize) -> Option<usize> {
        match self {
            Self::Plain(dtype) => dtype.byte_len(n),
            Self::Small(_) => Some(n),
        }
    }

    /// The weight that bytes of such elements are.
    ///
    /// # Errors
    /// When the bytes are not as many as the shape needs.
    pub(crate) fn weight(self, shape: Vec<usize>, bytes: Bytes) -> Result<Weight, String> {
        match self {
            Self::Plain(dtype) => Ok(HostTensor::new(dtype, shape, bytes).map_err(|e| e.to_string())?.into()),
            Self::Small(float) => {
                if element_count(&shape) != Some(bytes.len()) {
                    return Err(format!("{} bytes are not a tensor of shape {shape:?}", bytes.len()));
                }
                let decoded = Decoded { table: float.table(), shape, bytes };
                Weight::computed(Arc::new(decoded)).map_err(|e: WeightError| e.to_string())
            }
        }
    }
}

/// A tensor of eight-bit floats, in half precision.
#[derive(Debug)]
struct Decoded {
    table: [[u8; 2]; 256],
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Compute for Decoded {
    fn dtype(&self) -> DType {
        DType::F16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let row: usize = self.shape.iter().skip(1).product();
        let taken = &self.bytes[rows.start * row..rows.end * row];
        for (half, bits) in out.as_chunks_mut().0.iter_mut().zip(taken) {
            *half = self.table[usize::from(*bits)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_have_the_values_of_pytorch() {
        // torch.tensor([...], dtype=torch.uint8).view(dtype).float(), PyTorch 2.15.
        for (float, cases) in [
            (
                SmallFloat::E4M3FN,
                [(0x01, 2f32.powi(-9)), (0x38, 1.0), (0x7e, 448.0), (0xfe, -448.0), (0x08, 2f32.powi(-6))],
            ),
            (
                SmallFloat::E5M2,
                [
                    (0x01, 2f32.powi(-16)),
                    (0x3c, 1.0),
                    (0x7b, 57344.0),
                    (0xfc, f32::NEG_INFINITY),
                    (0x04, 2f32.powi(-14)),
                ],
            ),
            (
                SmallFloat::E4M3FNUZ,
                [(0x01, 2f32.powi(-10)), (0x40, 1.0), (0x7f, 240.0), (0xff, -240.0), (0x08, 2f32.powi(-7))],
            ),
            (
                SmallFloat::E5M2FNUZ,
                [(0x01, 2f32.powi(-17)), (0x40, 1.0), (0x7f, 57344.0), (0xff, -57344.0), (0x04, 2f32.powi(-15))],
            ),
        ] {
            for (bits, value) in cases {
                assert_eq!(float.value(bits), value, "{float:?} {bits:#04x}");
            }
        }
        assert!(SmallFloat::E4M3FN.value(0x7f).is_nan() && SmallFloat::E4M3FN.value(0xff).is_nan());
        assert!(SmallFloat::E5M2.value(0x7d).is_nan() && SmallFloat::E4M3FNUZ.value(0x80).is_nan());
        assert!(SmallFloat::E4M3FN.value(0x80) == 0.0 && SmallFloat::E4M3FN.value(0x80).is_sign_negative());
    }

    #[test]
    fn every_value_is_exact_in_half_precision() {
        for float in [SmallFloat::E4M3FN, SmallFloat::E5M2, SmallFloat::E4M3FNUZ, SmallFloat::E5M2FNUZ] {
            for bits in 0..=255 {
                let (value, half) = (float.value(bits), f16::from_le_bytes(float.table()[usize::from(bits)]).to_f32());
                assert!(value == half || value.is_nan() && half.is_nan(), "{float:?} {bits:#04x}");
            }
        }
    }

    #[test]
    fn rows_of_eight_bit_floats_are_decoded_when_they_are_read() {
        let weight =
            Element::Small(SmallFloat::E4M3FN).weight(vec![3, 2], Bytes::from_static(&[0x38, 0x40, 0, 1, 0xb8, 0x7e]));
        let constant = weight.unwrap().constant();
        assert_eq!(constant.read().to_f32_vec(), [1.0, 2.0, 0.0, 2f32.powi(-9), -1.0, 448.0]);
        assert!(Element::Small(SmallFloat::E5M2).weight(vec![3, 2], Bytes::from_static(&[0; 5])).is_err());
    }
}
