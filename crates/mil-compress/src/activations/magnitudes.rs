//! How large a value's elements are: a histogram that any number of tensors are counted into, in little memory.
//!
//! Bins are 1/128 of an octave wide: the upper 16 bits of an `f32` are the bin. So small magnitudes, of which a softmax
//! over many keys has nothing else, are told apart as well as large ones, and no range must be known beforehand.

use host_tensor::{DType, HostTensor, to_singles};

/// Bits of an `f32` that a bin does not tell apart.
const SHIFT: u32 = 16;
/// The lowest bin, at 2⁻⁴⁰; what is smaller counts as zero, for no scale of `f16` tells it from that.
const LOWEST: u32 = (127 - 40) << (23 - SHIFT);
/// Elements that are widened at a time.
const STRIP: usize = 1 << 14;

/// Counts of magnitudes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Magnitudes {
    /// By bin, as far as there is something.
    counts: Vec<u64>,
    n_zeros: u64,
    n_elements: u64,
    n_exceptional: u64,
    max: f32,
}

impl Magnitudes {
    /// Counts a tensor's elements.
    pub fn observe(&mut self, tensor: &HostTensor) {
        let width = tensor.dtype().bits() / 8;
        if tensor.dtype() == DType::F32 || width == 0 {
            return self.observe_values(&tensor.to_f32_vec());
        }
        let mut strip = vec![0.0; STRIP.min(tensor.len())];
        for bytes in tensor.bytes().chunks(STRIP * width) {
            let values = &mut strip[..bytes.len() / width];
            to_singles(tensor.dtype(), bytes, values);
            self.observe_values(values);
        }
    }

    /// Counts values.
    pub fn observe_values(&mut self, values: &[f32]) {
        self.n_elements += values.len() as u64;
        for value in values {
            let magnitude = value.abs();
            if !magnitude.is_finite() {
                self.n_exceptional += 1;
                continue;
            }
            self.max = self.max.max(magnitude);
            match (magnitude.to_bits() >> SHIFT).checked_sub(LOWEST) {
                None => self.n_zeros += 1,
                Some(bin) => {
                    let bin = bin as usize;
                    if bin >= self.counts.len() {
                        self.counts.resize(bin + 1, 0);
                    }
                    self.counts[bin] += 1;
                }
            }
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, theirs)| *own += theirs);
        self.n_zeros += other.n_zeros;
        self.n_elements += other.n_elements;
        self.n_exceptional += other.n_exceptional;
        self.max = self.max.max(other.max);
    }

    /// How many elements were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.n_elements
    }

    /// True when nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n_elements == 0
    }

    /// Elements that are infinite or not numbers; they are in no bin.
    #[must_use]
    pub fn n_exceptional(&self) -> u64 {
        self.n_exceptional
    }

    /// The largest magnitude.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Bins that are not empty, from the smallest magnitudes on: lower edge, upper edge, count.
    pub(super) fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, f64, u64)> + '_ {
        let edge = |bin: usize| f64::from(edge(bin)).min(f64::from(self.max));
        let bins = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        bins.map(move |(bin, count)| (f64::from(self::edge(bin)), edge(bin + 1), *count))
    }

    /// The magnitude that so large a share of the elements does not exceed, 0 to 1; as fine as bins are.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f32 {
        let finite = self.n_elements - self.n_exceptional;
        let mut rest = (share.clamp(0.0, 1.0) * finite as f64).ceil() as u64;
        if rest <= self.n_zeros {
            return 0.0;
        }
        rest -= self.n_zeros;
        for (_, upper, count) in self.bins() {
            if rest <= count {
                return upper as f32;
            }
            rest -= count;
        }
        self.max
    }

    /// Mean square of what is lost when integers up to `most` on either side of zero stand for `limit` at most.
    ///
    /// Within a bin all magnitudes are taken for equally frequent, and the loss is integrated over them.
    #[must_use]
    pub fn loss(&self, limit: f32, most: u8) -> f64 {
        let finite = (self.n_elements - self.n_exceptional).max(1);
        let (step, most) = (f64::from(limit) / f64::from(most), f64::from(most));
        let squares = |(lower, upper, count): (f64, f64, u64)| {
            let width = upper - lower;
            if width <= 0.0 {
                return count as f64 * (lower - nearest(lower, step, most)).powi(2);
            }
            count as f64 * (integral(upper, step, most) - integral(lower, step, most)) / width
        };
        self.bins().map(squares).sum::<f64>() / finite as f64
    }
}

/// The lower edge of a bin.
fn edge(bin: usize) -> f32 {
    f32::from_bits((LOWEST + bin as u32) << SHIFT)
}

/// The multiple of a step that stands for a magnitude.
fn nearest(x: f64, step: f64, most: f64) -> f64 {
    if step > 0.0 { (x / step).round().min(most) * step } else { 0.0 }
}

/// The integral from zero to `x` of the squared distance to the nearest multiple of `step`, at most `most` of them.
fn integral(x: f64, step: f64, most: f64) -> f64 {
    let at = nearest(x, step, most);
    // Between two multiples lies step³ / 12, and behind the last one the distance grows on.
    let whole = if step > 0.0 { at / step * step.powi(3) / 12.0 } else { 0.0 };
    whole + (x - at).powi(3) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<f32> {
        let mut s = 9u64;
        let mut next = || {
            s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..n).map(|_| next() + next() + next()).collect()
    }

    fn of(values: &[f32]) -> Magnitudes {
        let mut magnitudes = Magnitudes::default();
        magnitudes.observe_values(values);
        magnitudes
    }

    #[test]
    fn what_is_lost_is_what_rounding_loses() {
        let values = noise(200_000);
        let magnitudes = of(&values);
        for limit in [1.5, 0.9, 0.3, 0.01] {
            let step = limit / 127.0;
            let loss = |x: &f32| f64::from(x - (x / step).round_ties_even().clamp(-127.0, 127.0) * step).powi(2);
            let want = values.iter().map(loss).sum::<f64>() / values.len() as f64;
            let got = magnitudes.loss(limit, 127);
            assert!((got / want - 1.0).abs() < 0.02, "{limit}: {got} and {want}");
        }
        // A value that is hit exactly loses nothing.
        assert_eq!(of(&[2.0, -2.0, 0.0]).loss(2.0, 127), 0.0);
    }

    #[test]
    fn shares_are_found_within_a_bin() {
        let values: Vec<f32> = (1..=1000).map(|i| i as f32 * if i % 2 == 0 { 1e-3 } else { -1e-3 }).collect();
        let magnitudes = of(&values);
        for (share, want) in [(1.0, 1.0), (0.5, 0.5), (0.001, 0.001)] {
            assert!((magnitudes.quantile(share) / want - 1.0).abs() < 0.01, "{share}");
        }
        assert_eq!(magnitudes.max(), 1.0);
        assert_eq!(of(&[0.0, 0.0, 0.0, 5.0]).quantile(0.75), 0.0);
        assert_eq!(of(&[0.0, 0.0, 0.0, 5.0]).quantile(0.8), 5.0);
    }

    #[test]
    fn tensors_are_counted_in_any_order_type_and_number() {
        let values = noise(40_000);
        let mut parts = Magnitudes::default();
        for part in values.chunks(7_777) {
            let mut own = Magnitudes::default();
            own.observe(&HostTensor::from_f32([part.len()], part.to_vec()));
            parts.merge(&own);
        }
        assert_eq!(parts, of(&values));
        let mut halves = Magnitudes::default();
        let half = HostTensor::from_f16([values.len()], &values);
        halves.observe(&half);
        assert_eq!(halves, of(&half.to_f32_vec()));
    }

    #[test]
    fn what_is_not_finite_is_counted_and_has_no_bin() {
        let magnitudes = of(&[f32::NAN, f32::NEG_INFINITY, 1.0, 1e-20, f32::MAX]);
        assert_eq!((magnitudes.len(), magnitudes.n_exceptional(), magnitudes.max()), (5, 2, f32::MAX));
        assert_eq!(magnitudes.bins().map(|(_, _, n)| n).collect::<Vec<_>>(), [1, 1]);
    }
}
