//! The two loops over all elements: the range of a block, and its integers.

use half::{f16, slice::HalfFloatSliceExt};
use host_tensor::DType;

/// Least and greatest of some values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) least: f32,
    pub(super) greatest: f32,
    has_nan: bool,
}

impl Default for Range {
    fn default() -> Self {
        Self { least: f32::INFINITY, greatest: f32::NEG_INFINITY, has_nan: false }
    }
}

impl Range {
    /// True when there were values, all of them finite.
    pub(super) fn is_finite(self) -> bool {
        self.least.is_finite() && self.greatest.is_finite() && !self.has_nan
    }

    /// Takes in a run of little-endian `f16` or `f32`.
    pub(super) fn extend(&mut self, dtype: DType, run: &[u8]) {
        if dtype == DType::F16 {
            // As integers that have the order of the values; NaNs lie beyond the infinities.
            let keys = run.as_chunks().0.iter().map(|&b| key(i16::from_le_bytes(b)));
            let (lo, hi) = keys.fold((i16::MAX, i16::MIN), |(lo, hi), k| (lo.min(k), hi.max(k)));
            let of = |k| f16::from_bits(key(k) as u16).to_f32();
            self.add(of(lo), of(hi));
        } else {
            for &b in run.as_chunks().0 {
                let v = f32::from_le_bytes(b);
                self.add(v, v);
            }
        }
    }

    fn add(&mut self, least: f32, greatest: f32) {
        self.has_nan |= least.is_nan() | greatest.is_nan();
        self.least = self.least.min(least);
        self.greatest = self.greatest.max(greatest);
    }
}

/// Maps bit patterns of `f16` to integers of the same order, and back.
const fn key(bits: i16) -> i16 {
    bits ^ ((bits >> 15) & 0x7FFF)
}

/// How values of a block become integers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) scale: f32,
    pub(super) offset: f32,
    pub(super) least: f32,
    pub(super) greatest: f32,
}

impl Steps {
    /// `round` rounds to the weight's type.
    #[inline(always)]
    fn apply(&self, v: f32, round: impl Fn(f32) -> f32) -> u8 {
        let q = round(v / self.scale).round_ties_even() + self.offset;
        q.clamp(self.least, self.greatest) as i32 as u8
    }
}

/// Quantizes a run; the low byte of each integer goes to `to`.
pub(super) fn quantize(dtype: DType, run: &[u8], steps: &Steps, to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
        // SAFETY: the machine has the instructions.
        unsafe { avx2::quantize(dtype, run, steps, to) };
        return;
    }
    portable(dtype, run, steps, to);
}

fn portable(dtype: DType, run: &[u8], steps: &Steps, to: &mut [u8]) {
    if dtype == DType::F16 {
        let (mut halves, mut floats) = ([f16::ZERO; 256], [0f32; 256]);
        for (run, to) in run.chunks(512).zip(to.chunks_mut(256)) {
            let (halves, floats) = (&mut halves[..to.len()], &mut floats[..to.len()]);
            halves.iter_mut().zip(run.as_chunks().0).for_each(|(h, &b)| *h = f16::from_le_bytes(b));
            halves.convert_to_f32_slice(floats);
            let round = |x: f32| f16::from_f32(x).to_f32();
            to.iter_mut().zip(floats).for_each(|(to, &mut v)| *to = steps.apply(v, round));
        }
    } else {
        to.iter_mut().zip(run.as_chunks().0).for_each(|(to, &b)| *to = steps.apply(f32::from_le_bytes(b), |x| x));
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Eight elements at a time.

    use super::{DType, Steps, portable};
    use std::arch::x86_64::*;

    /// As [`portable`].
    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn quantize(dtype: DType, run: &[u8], steps: &Steps, to: &mut [u8]) {
        let is_half = dtype == DType::F16;
        let width = if is_half { 2 } else { 4 };
        let whole = to.len() / 8;
        let of = |x| _mm256_set1_ps(x);
        let (scale, offset) = (of(steps.scale), of(steps.offset));
        let (least, greatest) = (of(steps.least), of(steps.greatest));
        // Of four bytes the lowest, for each half of a vector.
        let low = _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
        for (run, to) in run.chunks_exact(8 * width).zip(to[..whole * 8].as_chunks_mut::<8>().0) {
            // SAFETY: the chunk holds eight elements of that width.
            let v = unsafe {
                if is_half {
                    _mm256_cvtph_ps(_mm_loadu_si128(run.as_ptr().cast()))
                } else {
                    _mm256_loadu_ps(run.as_ptr().cast())
                }
            };
            let mut q = _mm256_div_ps(v, scale);
            if is_half {
                q = _mm256_cvtph_ps(_mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(q));
            }
            q = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(q);
            q = _mm256_min_ps(_mm256_max_ps(_mm256_add_ps(q, offset), least), greatest);
            let q = _mm256_cvtps_epi32(q);
            let half = |v| _mm_cvtsi128_si32(_mm_shuffle_epi8(v, low)).to_le_bytes();
            let (a, b) = (half(_mm256_castsi256_si128(q)), half(_mm256_extracti128_si256::<1>(q)));
            to[..4].copy_from_slice(&a);
            to[4..].copy_from_slice(&b);
        }
        portable(dtype, &run[whole * 8 * width..], steps, &mut to[whole * 8..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_halves_are_quantized_alike_by_both_kernels() {
        let values: Vec<u8> =
            (0..=u16::MAX).filter(|b| f16::from_bits(*b).is_finite()).flat_map(u16::to_le_bytes).collect();
        let mut scale = 6e-8f32;
        while scale < 600.0 {
            for (least, greatest, offset) in
                [(-127.0, 127.0, 0.0), (0.0, 254.0, 127.0), (-8.0, 7.0, 3.0), (0.0, 255.0, 0.0)]
            {
                let steps = Steps { scale: f16::from_f32(scale).to_f32(), offset, least, greatest };
                let (mut a, mut b) = (vec![0; values.len() / 2], vec![0; values.len() / 2]);
                quantize(DType::F16, &values, &steps, &mut a);
                portable(DType::F16, &values, &steps, &mut b);
                assert_eq!(a, b, "{steps:?}");
            }
            scale *= 7.3;
        }
    }

    #[test]
    fn floats_are_quantized_alike_by_both_kernels() {
        let values: Vec<u8> = (0..40_003u32).flat_map(|i| ((i as f32 * 0.37).sin() * 3.0).to_le_bytes()).collect();
        let steps = Steps { scale: 0.011, offset: 5.0, least: 0.0, greatest: 255.0 };
        let (mut a, mut b) = (vec![0; 40_003], vec![0; 40_003]);
        quantize(DType::F32, &values, &steps, &mut a);
        portable(DType::F32, &values, &steps, &mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn ranges_see_what_is_not_finite() {
        let range = |values: &[f32]| {
            let mut range = Range::default();
            let bytes: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
            range.extend(DType::F16, &bytes);
            range
        };
        let r = range(&[0.5, -2.0, 1.25]);
        assert_eq!((r.least, r.greatest, r.is_finite()), (-2.0, 1.25, true));
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
            assert!(!range(&[1.0, bad, 2.0]).is_finite(), "{bad}");
        }
        assert!(!range(&[]).is_finite());
    }
}
