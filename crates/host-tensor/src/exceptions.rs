//! Values that are no numbers, or no longer are once they are f16: counted by their bits, as fast as memory is read.

use crate::{DType, HostTensor};

/// How many values of a tensor are not finite, or would not be in f16.
///
/// All are zero for types other than f16, bf16, f32 and f64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exceptions {
    /// Values that are NaN.
    pub nans: u64,
    /// Values that are +∞ or −∞.
    pub infinities: u64,
    /// Finite values that rounding to f16 makes infinite: 65520 and more in magnitude.
    pub beyond_f16: u64,
}

/// Elements that are looked at together, before any of them is counted.
const CHUNK: usize = 4096;

/// The bits, without the sign, of the least value of each kind.
struct Bounds<T> {
    beyond_f16: T,
    infinity: T,
}

const F16: Bounds<u16> = Bounds { beyond_f16: 0x7C00, infinity: 0x7C00 };
/// The least bf16 that is 65520 or more is 65536.
const BF16: Bounds<u16> = Bounds { beyond_f16: 0x4780, infinity: 0x7F80 };
/// 65520 lies half way between the largest f16 and what would be the next, and ties go to even.
const F32: Bounds<u32> = Bounds { beyond_f16: 65520f32.to_bits(), infinity: f32::INFINITY.to_bits() };

impl Exceptions {
    /// Counts the tensor's exceptions.
    #[must_use]
    pub fn of(tensor: &HostTensor) -> Self {
        Self::of_bytes(tensor.dtype(), tensor.bytes())
    }

    /// Counts the exceptions of elements that lie one after another, a part of a tensor for example.
    #[must_use]
    pub fn of_bytes(dtype: DType, bytes: &[u8]) -> Self {
        match dtype {
            DType::F16 => halves(bytes, &F16),
            DType::BF16 => halves(bytes, &BF16),
            DType::F32 => singles(bytes.as_chunks().0),
            DType::F64 => doubles(bytes.as_chunks().0),
            _ => Self::default(),
        }
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn count<T: PartialOrd>(&mut self, magnitude: T, bounds: &Bounds<T>) {
        if magnitude > bounds.infinity {
            self.nans += 1;
        } else if magnitude == bounds.infinity {
            self.infinities += 1;
        } else if magnitude >= bounds.beyond_f16 {
            self.beyond_f16 += 1;
        }
    }
}

impl std::ops::AddAssign for Exceptions {
    fn add_assign(&mut self, more: Self) {
        self.nans += more.nans;
        self.infinities += more.infinities;
        self.beyond_f16 += more.beyond_f16;
    }
}

/// Elements of two bytes.
fn halves(bytes: &[u8], bounds: &Bounds<u16>) -> Exceptions {
    let (words, _) = bytes.as_chunks::<2>();
    let magnitude = |&word: &[u8; 2]| u16::from_le_bytes(word) & 0x7FFF;
    let mut found = Exceptions::default();
    for chunk in words.chunks(CHUNK) {
        // The difference is negative, and so has its highest bit set, where a magnitude reaches the bound; compilers
        // make vector instructions of this loop.
        let reached = chunk.iter().fold(0, |all, word| all | (bounds.beyond_f16 - 1).wrapping_sub(magnitude(word)));
        if reached >> 15 == 1 {
            chunk.iter().for_each(|word| found.count(magnitude(word), bounds));
        }
    }
    found
}

/// Elements of four bytes.
fn singles(words: &[[u8; 4]]) -> Exceptions {
    let magnitude = |&word: &[u8; 4]| u32::from_le_bytes(word) & 0x7FFF_FFFF;
    let mut found = Exceptions::default();
    for chunk in words.chunks(CHUNK) {
        let reached = chunk.iter().fold(0, |all, word| all | (F32.beyond_f16 - 1).wrapping_sub(magnitude(word)));
        if reached >> 31 == 1 {
            chunk.iter().for_each(|word| found.count(magnitude(word), &F32));
        }
    }
    found
}

/// Elements of eight bytes, rounded to f32 first, as casts do; one that is infinite in f32 is beyond f16 as well.
fn doubles(words: &[[u8; 8]]) -> Exceptions {
    let mut found = Exceptions::default();
    for chunk in words.chunks(CHUNK) {
        for value in chunk.iter().map(|&word| f64::from_le_bytes(word)) {
            let rounded = value as f32;
            match value.is_finite() && rounded.is_infinite() {
                true => found.beyond_f16 += 1,
                false => found.count(rounded.to_bits() & 0x7FFF_FFFF, &F32),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;

    const ODD: [f64; 12] = [
        0.0,
        -1.5,
        65504.0,
        -65519.0,
        65520.0,
        -65536.0,
        3e38,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        5e-324,
    ];

    /// Counted one by one, by what a cast to f16 makes of each value.
    fn slowly(tensor: &HostTensor) -> Exceptions {
        let mut found = Exceptions::default();
        let wide = tensor.cast(DType::F64);
        let (values, _) = wide.bytes().as_chunks::<8>();
        let halves = tensor.cast(DType::F32).cast(DType::F16).to_f32_vec();
        for (value, half) in values.iter().map(|&b| f64::from_le_bytes(b)).zip(halves) {
            found.nans += u64::from(value.is_nan());
            found.infinities += u64::from(value.is_infinite());
            found.beyond_f16 += u64::from(value.is_finite() && half.is_infinite());
        }
        found
    }

    fn doubles_of(values: impl IntoIterator<Item = f64>) -> HostTensor {
        let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
        HostTensor::new(DType::F64, [bytes.len() / 8], Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn counts_are_those_of_a_cast_to_f16_in_every_float_type() {
        let doubles = doubles_of(ODD);
        assert_eq!(Exceptions::of(&doubles), Exceptions { nans: 1, infinities: 2, beyond_f16: 4 });
        for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16] {
            let tensor = doubles.cast(dtype);
            assert_eq!(Exceptions::of(&tensor), slowly(&tensor), "{dtype}");
        }
    }

    #[test]
    fn every_half_of_both_kinds_is_counted_right() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [DType::BF16, DType::F16] {
            let tensor = HostTensor::new(dtype, [1 << 16], Bytes::from(bytes.clone())).unwrap();
            assert_eq!(Exceptions::of(&tensor), slowly(&tensor), "{dtype}");
        }
    }

    #[test]
    fn one_exception_is_found_wherever_it_stands() {
        for at in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 6] {
            let mut values = vec![1.0f64; 2 * CHUNK + 7];
            values[at] = -70000.0;
            let doubles = doubles_of(values);
            for dtype in [DType::F64, DType::F32, DType::BF16] {
                let found = Exceptions::of(&doubles.cast(dtype));
                assert_eq!(found, Exceptions { beyond_f16: 1, ..Exceptions::default() }, "{dtype} at {at}");
            }
            let found = Exceptions::of(&doubles.cast(DType::F16));
            assert_eq!(found, Exceptions { infinities: 1, ..Exceptions::default() }, "f16 at {at}");
        }
    }

    #[test]
    fn integers_and_empty_tensors_have_none() {
        assert!(Exceptions::of(&HostTensor::from_i32([2], vec![i32::MAX, -1])).is_empty());
        assert!(Exceptions::of(&HostTensor::from_f32([0], Vec::new())).is_empty());
    }
}
