//! The Mersenne Twister MT19937 with Knuth's seeding, as NumPy and PyTorch use it.
//!
//! Source of the algorithm: Matsumoto and Nishimura, 1998, with the 2002 `init_genrand`.

const N: usize = 624;
const M: usize = 397;

/// The generator's state: 624 words and the place of the next one.
#[derive(Clone)]
pub(super) struct Mt19937 {
    words: Box<[u32; N]>,
    next: usize,
}

impl Mt19937 {
    /// Seeds the state from one word.
    pub(super) fn new(seed: u32) -> Self {
        let mut words = Box::new([0u32; N]);
        words[0] = seed;
        for i in 1..N {
            let previous = words[i - 1];
            words[i] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        Self { words, next: N }
    }

    /// Seeds the state from any number of words, as the 2002 `init_by_array`; no word counts as one word of 0.
    pub(super) fn from_words(key: &[u32]) -> Self {
        let key = if key.is_empty() { &[0] } else { key };
        let mut mt = Self::new(19_650_218);
        let words = &mut mt.words;
        let mixed = |words: &[u32; N], i: usize, factor: u32| {
            let previous = words[i - 1];
            words[i] ^ (previous ^ (previous >> 30)).wrapping_mul(factor)
        };
        let mut i = 1;
        for round in 0..N.max(key.len()) {
            let j = round % key.len();
            words[i] = mixed(words, i, 1_664_525).wrapping_add(key[j]).wrapping_add(j as u32);
            i = after(words, i);
        }
        for _ in 1..N {
            words[i] = mixed(words, i, 1_566_083_941).wrapping_sub(i as u32);
            i = after(words, i);
        }
        words[0] = 0x8000_0000;
        mt
    }

    /// The next 32 random bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A double in [0, 1) with 53 random bits, from two words.
    pub(super) fn next_f64(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % N] & 0x7fff_ffff);
            let mag = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + M) % N] ^ (y >> 1) ^ mag;
        }
        self.next = 0;
    }
}

/// The place after `i`: behind the last word stands the second, and the first becomes the last.
fn after(words: &mut [u32; N], i: usize) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    words[0] = words[N - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_reference_program() {
        // The C++ standard fixes the 10 000th word of the default seed.
        let mut mt = Mt19937::new(5489);
        let last = (0..10_000).map(|_| mt.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn words_of_an_array_are_those_of_the_reference_program() {
        // The first output of mt19937ar.out.
        let mut mt = Mt19937::from_words(&[0x123, 0x234, 0x345, 0x456]);
        assert_eq!([mt.next_u32(), mt.next_u32(), mt.next_u32()], [1_067_595_299, 955_945_823, 477_289_528]);
        assert_eq!(Mt19937::from_words(&[]).next_u32(), Mt19937::from_words(&[0]).next_u32());
    }
}
