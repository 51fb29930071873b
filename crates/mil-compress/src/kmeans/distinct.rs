//! The distinct values of a weight, and how often each occurs.

use half::f16;

/// Distinct finite values in ascending order, with their counts; zero has one sign.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Distinct {
    pub(crate) values: Vec<f64>,
    pub(crate) counts: Vec<u64>,
}

/// A weight with infinities or NaNs: how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFinite(pub(crate) u64);

/// Number of bit patterns of a 16-bit type.
pub(crate) const PATTERNS: usize = 1 << 16;
/// Fewer values than this are sorted; a histogram of them would be mostly empty.
const FEW: usize = 1 << 13;

impl Distinct {
    /// Counts the values of runs of little-endian `f16`.
    ///
    /// # Errors
    /// When some are not finite.
    pub(crate) fn of_halves<'a>(runs: impl Iterator<Item = &'a [u8]> + Clone) -> Result<Self, NotFinite> {
        let n: usize = runs.clone().map(|run| run.len() / 2).sum();
        let mut distinct = Self::default();
        let mut bad = 0;
        let mut add = |key: u16, count: u64| {
            let value = f16::from_bits(pattern(key)).to_f64();
            if !value.is_finite() {
                bad += count;
            } else if value == 0.0 && distinct.values.last() == Some(&0.0) {
                // Both zeros: negative zero comes first in the order of keys.
                *distinct.counts.last_mut().expect("invariant: there is a last value") += count;
            } else {
                // Adding zero turns the negative one into the positive one.
                distinct.values.push(value + 0.0);
                distinct.counts.push(count);
            }
        };
        if n < FEW {
            let mut keys: Vec<u16> = runs.flat_map(halves).map(key).collect();
            keys.sort_unstable();
            keys.chunk_by(|a, b| a == b).for_each(|same| add(same[0], same.len() as u64));
        } else {
            let mut counts = vec![0u64; PATTERNS];
            count_halves(runs, &mut counts);
            for k in 0..=u16::MAX {
                match counts[usize::from(pattern(k))] {
                    0 => {}
                    count => add(k, count),
                }
            }
        }
        if bad > 0 { Err(NotFinite(bad)) } else { Ok(distinct) }
    }

    /// Counts `f32` values, by sorting them.
    ///
    /// # Errors
    /// When some are not finite.
    pub(crate) fn of_f32(mut values: Vec<f32>) -> Result<Self, NotFinite> {
        finite_f32(&values)?;
        values.iter_mut().for_each(|v| *v += 0.0);
        values.sort_unstable_by(f32::total_cmp);
        let mut distinct = Self::default();
        for same in values.chunk_by(|a, b| a == b) {
            distinct.values.push(f64::from(same[0]));
            distinct.counts.push(same.len() as u64);
        }
        Ok(distinct)
    }

    /// Number of distinct values.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Checks that all are finite.
pub(crate) fn finite_f32(values: &[f32]) -> Result<(), NotFinite> {
    match values.iter().filter(|v| !v.is_finite()).count() {
        0 => Ok(()),
        n => Err(NotFinite(n as u64)),
    }
}

/// The bit patterns of a run of halves.
pub(crate) fn halves(run: &[u8]) -> impl Iterator<Item = u16> + '_ {
    run.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair))
}

/// One pass over all values. Counts of 32 bits are half as far apart; they are emptied before they can overflow.
fn count_halves<'a>(runs: impl Iterator<Item = &'a [u8]>, counts: &mut [u64]) {
    const FULL: usize = u32::MAX as usize;
    let mut small = vec![0u32; PATTERNS];
    let mut since = 0;
    let mut empty = |small: &mut [u32]| {
        counts.iter_mut().zip(small).for_each(|(count, small)| *count += u64::from(std::mem::take(small)));
    };
    for run in runs {
        for piece in run.chunks(1 << 20) {
            if since + piece.len() > FULL {
                empty(&mut small);
                since = 0;
            }
            since += piece.len();
            let small: &mut [u32; PATTERNS] = small.as_mut_slice().try_into().expect("invariant: of that length");
            halves(piece).for_each(|bits| small[usize::from(bits)] += 1);
        }
    }
    empty(&mut small);
}

/// Turns a bit pattern into a number that grows with the value.
const fn key(bits: u16) -> u16 {
    if bits & 0x8000 == 0 { bits | 0x8000 } else { !bits }
}

/// The bit pattern of a [`key`].
const fn pattern(key: u16) -> u16 {
    if key & 0x8000 == 0 { !key } else { key & 0x7FFF }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
    }

    #[test]
    fn few_and_many_values_are_counted_alike() {
        let some = [-1.5, -0.0, 0.0, 2.0, -1.5, 65504.0, -65504.0, 6e-8];
        let few = Distinct::of_halves(std::iter::once(&bytes(&some)[..])).unwrap();
        assert_eq!(few.values, [-65504.0, -1.5, 0.0, f64::from(f16::from_f32(6e-8)), 2.0, 65504.0]);
        assert_eq!(few.counts, [1, 2, 2, 1, 1, 1]);
        let one = bytes(&some);
        let many = Distinct::of_halves(std::iter::repeat_n(&one[..], 2000)).unwrap();
        assert_eq!(many.values, few.values);
        assert!(many.counts.iter().zip(&few.counts).all(|(m, f)| *m == 2000 * f));
        assert_eq!(Distinct::of_f32(few.values.iter().map(|&v| v as f32).collect()).unwrap().values, few.values);
    }

    #[test]
    fn values_that_are_not_finite_are_counted() {
        let b = bytes(&[1.0, f32::INFINITY, f32::NAN, -f32::INFINITY]);
        assert_eq!(Distinct::of_halves(std::iter::once(&b[..])), Err(NotFinite(3)));
        assert_eq!(Distinct::of_f32(vec![1.0, f32::NAN]), Err(NotFinite(1)));
    }
}
