//! PCG64 as NumPy seeds it: `numpy.random.PCG64(seed)`.
//!
//! A `SeedSequence` hashes the seed into the state of a linear congruential generator of 128 bits with the output XSL-RR (O'Neill, 2014).

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// PCG64, and the half of a word that a draw of 32 bits has left over.
#[derive(Debug, Clone)]
pub(super) struct Words {
    state: u128,
    increment: u128,
    kept: Option<u32>,
}

impl Words {
    /// The generator of an array of words, or of a long seed, its lowest 32 bits first.
    pub(super) fn from_seed(seed: &[u32]) -> Self {
        Self::new(seed_sequence(seed))
    }

    fn new([state_high, state_low, stream_high, stream_low]: [u64; 4]) -> Self {
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let mut words = Self { state: 0, increment: (wide(stream_high, stream_low) << 1) | 1, kept: None };
        words.advance();
        words.state = words.state.wrapping_add(wide(state_high, state_low));
        words.advance();
        words
    }

    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// The lower half of a word, then its upper half.
    pub(super) fn next_u32(&mut self) -> u32 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let word = self.next_u64();
        self.kept = Some((word >> 32) as u32);
        word as u32
    }

    /// 53 random bits in [0, 1).
    pub(super) fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// 24 random bits in [0, 1).
    pub(super) fn next_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / 16_777_216.0
    }
}

/// A multiplicative hash whose constant moves on with every word.
struct Hash {
    constant: u32,
    factor: u32,
}

impl Hash {
    fn word(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.factor);
        let word = word.wrapping_mul(self.constant);
        word ^ (word >> 16)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> 16)
}

/// Words of state that `SeedSequence(seed).generate_state(4, uint64)` gives: the entropy is spread over a pool of four words.
fn seed_sequence(seed: &[u32]) -> [u64; 4] {
    let mut hash = Hash { constant: 0x43b0_d7e5, factor: 0x931e_8875 };
    let mut pool = [0u32; 4];
    for (i, word) in pool.iter_mut().enumerate() {
        *word = hash.word(seed.get(i).copied().unwrap_or(0));
    }
    for from in 0..pool.len() {
        for to in (0..pool.len()).filter(|to| *to != from) {
            pool[to] = mix(pool[to], hash.word(pool[from]));
        }
    }
    for &word in seed.iter().skip(pool.len()) {
        for to in &mut pool {
            *to = mix(*to, hash.word(word));
        }
    }
    let mut hash = Hash { constant: 0x8b51_f9dd, factor: 0x58f3_8ded };
    let mut half = |i: usize| u64::from(hash.word(pool[i % pool.len()]));
    // Lower halves first.
    [0, 2, 4, 6].map(|i| half(i) | (half(i + 1) << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_any_length_are_spread_as_numpy_spreads_them() {
        // numpy 2.4.6: SeedSequence(seed).generate_state(4, "uint64").
        assert_eq!(seed_sequence(&[42])[..2], [11_465_652_750_463_011_511, 15_382_171_918_060_459_190]);
        assert_eq!(seed_sequence(&[3, 0, 1])[0], 9_708_532_199_024_898_782);
        assert_eq!(
            seed_sequence(&[1, 2, 3, 4, 5, 6]),
            [
                16_991_237_094_181_161_505,
                14_981_931_853_785_751_691,
                11_178_459_300_072_584_630,
                1_971_961_610_505_447_179
            ]
        );
    }

    #[test]
    fn halves_of_a_word_are_drawn_before_the_next() {
        let (mut halves, mut whole) = (Words::from_seed(&[5]), Words::from_seed(&[5]));
        let word = whole.next_u64();
        assert_eq!([halves.next_u32(), halves.next_u32()], [word as u32, (word >> 32) as u32]);
        // A half that is left over waits while whole words are drawn.
        halves.next_u32();
        let second = whole.next_u64();
        assert_eq!(halves.next_u64(), whole.next_u64());
        assert_eq!(halves.next_u32(), (second >> 32) as u32);
    }
}
