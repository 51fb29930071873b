//! The largest magnitude of a tensor, by its bits: what a sum cannot exceed is known without computing it.

use host_tensor::{DType, HostTensor, bf16, f16};

use super::{BLOCK_ELEMENTS, Weight, row_elements};

impl Weight {
    /// What no value is larger than, not finite where one is not; reads everything that is not a sum.
    pub(super) fn bound(&self) -> f32 {
        match self {
            Self::View(view) => largest(&view.tensor),
            Self::Joined(joined) => joined.parts.iter().map(Self::bound).fold(0.0, larger),
            Self::Sum(sum) => sum.bound(),
            Self::Computed(source) => {
                let at_a_time = (BLOCK_ELEMENTS / row_elements(source.shape()).max(1)).max(1);
                let n_rows = source.shape().first().copied().unwrap_or(1);
                let blocks = (0..n_rows).step_by(at_a_time).map(|first| first..n_rows.min(first + at_a_time));
                blocks.map(|rows| largest_of(&self.values(rows))).fold(0.0, larger)
            }
        }
    }
}

/// The largest magnitude of a tensor of floating-point numbers; NaN where one is.
///
/// Without their sign, the bits of floating-point numbers are ordered as the numbers are, infinity behind all of them and
/// NaN behind infinity.
pub(super) fn largest(tensor: &HostTensor) -> f32 {
    let halves = || tensor.bytes().as_chunks().0.iter().fold(0, |max: u16, &b| max.max(u16::from_le_bytes(b) & 0x7FFF));
    match tensor.dtype() {
        DType::F16 => f16::from_bits(halves()).to_f32(),
        DType::BF16 => bf16::from_bits(halves()).to_f32(),
        DType::F32 => {
            let words = tensor.bytes().as_chunks().0.iter();
            f32::from_bits(words.fold(0, |max: u32, &b| max.max(u32::from_le_bytes(b) & 0x7FFF_FFFF)))
        }
        _ => largest_of(&tensor.to_f32_vec()),
    }
}

/// The largest magnitude; NaN where one is.
pub(super) fn largest_of(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7FFF_FFFF)))
}

/// The larger of two magnitudes; NaN where one is.
pub(super) fn larger(a: f32, b: f32) -> f32 {
    largest_of(&[a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_the_largest_in_every_type_and_nan_hides_behind_nothing() {
        let check = |values: &[f32], expected: f32| {
            let tensor = HostTensor::from_f32([values.len()], values.to_vec());
            for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
                let found = largest(&tensor.cast(dtype));
                assert!(found == expected || (found.is_nan() && expected.is_nan()), "{dtype}: {values:?} {found}");
            }
            assert_eq!(larger(values[0], 0.0).to_bits(), values[0].abs().to_bits());
        };
        check(&[0.5, -3.0, 2.0], 3.0);
        check(&[-0.0, 0.0], 0.0);
        check(&[1.0, f32::NEG_INFINITY], f32::INFINITY);
        check(&[f32::INFINITY, -f32::NAN, 1.0], f32::NAN);
    }
}
