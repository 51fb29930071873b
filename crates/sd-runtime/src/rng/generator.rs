//! NumPy's newer generator: `numpy.random.default_rng(seed)`, PCG64 and two ziggurats.

use super::{RandomSource, pcg64::Words, ziggurat};

/// `numpy.random.default_rng(seed)`, as a stream of normal tensors of f64.
#[derive(Debug, Clone)]
pub struct NumpyGenerator {
    words: Words,
}

impl NumpyGenerator {
    /// The generator of a seed, which NumPy takes of any length; 128 bits are taken here, more by [`from_words`](Self::from_words).
    #[must_use]
    pub fn new(seed: u128) -> Self {
        let words = [0, 32, 64, 96].map(|shift| (seed >> shift) as u32);
        // NumPy drops leading zeros: the seed 0 is one word.
        let n = 4 - words.iter().rev().take_while(|word| **word == 0).count();
        Self::from_words(&words[..n.max(1)])
    }

    /// The generator of an array of words, as `default_rng([…])`, or of a long seed, its lowest 32 bits first.
    #[must_use]
    pub fn from_words(seed: &[u32]) -> Self {
        Self { words: Words::from_seed(seed) }
    }

    /// The next `n` words of the bit generator, as `PCG64.random_raw(n)`.
    pub fn raw(&mut self, n: usize) -> Vec<u64> {
        (0..n).map(|_| self.words.next_u64()).collect()
    }

    /// Draws `n` values in [0, 1), as `random(n)`.
    pub fn uniforms(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.words.next_f64()).collect()
    }

    /// Draws a tensor as `standard_normal(n, dtype=float32)`: other numbers than those of f64, from half as many bits.
    pub fn single_normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| ziggurat::normal_f32(&mut self.words)).collect()
    }
}

impl RandomSource for NumpyGenerator {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| ziggurat::normal_f64(&mut self.words)).collect()
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_seeds_are_their_words_and_zero_is_one_word() {
        assert_eq!(NumpyGenerator::new(7 << 64).raw(1), NumpyGenerator::from_words(&[0, 0, 7]).raw(1));
        // numpy 2.4.6: default_rng(0).bit_generator.random_raw(1).
        assert_eq!(NumpyGenerator::new(0).raw(1), [11_749_869_230_777_074_271]);
    }

    #[test]
    fn doubles_and_singles_are_other_numbers() {
        // numpy 2.4.6: default_rng(42).standard_normal(2), and with dtype=float32.
        let doubles = NumpyGenerator::new(42).normals(2);
        assert_eq!(doubles, [0.30471707975443135, -1.0399841062404955]);
        assert_eq!(NumpyGenerator::new(42).single_normals(2), [0.14190717, -1.6685079]);
    }
}
