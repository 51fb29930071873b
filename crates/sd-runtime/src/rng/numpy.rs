//! NumPy's legacy random source: `numpy.random.RandomState(seed).randn(...)`, bit for bit.
//!
//! MT19937 feeds Marsaglia's polar method in f64; of each accepted pair the second value is given first and the other kept for the next draw.
//! The kept value survives between calls, so a stream of several tensors equals one long draw.
//! Bit equality rests on the platform's `log` agreeing with the one under NumPy: it does on Linux with glibc; elsewhere the last bit of an f64 may differ, which f16 rounding hides.

use super::{DrawOrder, RandomSource, mt19937::Mt19937};

/// `RandomState(seed)`, as a stream of normal draws.
#[derive(Clone)]
pub struct NumpyRandom {
    bits: Mt19937,
    kept: Option<f64>,
}

impl NumpyRandom {
    /// The source for a seed, as `numpy.random.RandomState(seed)` or `numpy.random.seed(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { bits: Mt19937::new(seed), kept: None }
    }

    /// The source for an array of words, as `numpy.random.RandomState([…])`.
    #[must_use]
    pub fn from_words(seed: &[u32]) -> Self {
        Self { bits: Mt19937::from_words(seed), kept: None }
    }

    /// Draws `n` values in [0, 1), as `random_sample(n)`; a normal value that was kept stays for the next normal draw.
    pub fn uniforms(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.bits.next_f64()).collect()
    }

    fn normal(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        loop {
            let x1 = 2.0 * self.bits.next_f64() - 1.0;
            let x2 = 2.0 * self.bits.next_f64() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let scale = (-2.0 * r2.ln() / r2).sqrt();
                self.kept = Some(scale * x1);
                return scale * x2;
            }
        }
    }
}

impl RandomSource for NumpyRandom {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// Core ML pipelines round NumPy's draws to f16.
    fn latents(&mut self, n: usize) -> Vec<f32> {
        self.normals_f16(n)
    }

    fn order(&self) -> DrawOrder {
        DrawOrder::NoiseFirst
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() < 5e-9, "draw {i}: {g} is not {w}");
        }
    }

    #[test]
    fn draws_of_seed_42_are_numpys() {
        let want = [0.49671415, -0.1382643, 0.64768854, 1.52302986, -0.23415337, -0.23413696, 1.57921282, 0.76743473];
        assert_close(&NumpyRandom::new(42).normals(8), &want);
    }

    #[test]
    fn draws_of_seed_93_are_numpys() {
        let want = [1.63019808, 1.10073589, 2.06223012, 0.46401601, 1.65206334, 0.25922487, -0.46316407, -1.46398247];
        assert_close(&NumpyRandom::new(93).normals(8), &want);
    }

    #[test]
    fn ten_thousandth_draws_of_seed_12345_are_numpys() {
        let draws = NumpyRandom::new(12345).normals(10_000);
        let want = [-0.86285345, 2.15229409, -0.00670556, -1.21472309, 0.65498866];
        assert_close(&draws[9_995..], &want);
    }

    #[test]
    fn odd_sized_draws_continue_the_stream() {
        let mut parts = NumpyRandom::new(7);
        let mut pieces = parts.normals(3);
        pieces.extend(parts.normals(5));
        pieces.extend(parts.normals(1));
        assert_eq!(pieces, NumpyRandom::new(7).normals(9));
    }
}
