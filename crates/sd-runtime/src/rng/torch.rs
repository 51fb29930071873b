//! PyTorch's CPU generator: `torch.manual_seed(seed); torch.randn(n)`.
//!
//! Sixteen values or more are drawn as f32 in blocks of sixteen, the last block again over the tail; fewer are drawn as doubles one by one.
//! PyTorch's vector kernels approximate `log` and `cos`, so values agree with it to about 1e-6, not bit for bit.

use super::{RandomSource, mt19937::Mt19937};

/// Values per block of the f32 path.
const BLOCK: usize = 16;

/// `torch.Generator("cpu")`, as a stream of normal tensors.
#[derive(Clone)]
pub struct TorchRandom {
    bits: Mt19937,
    kept: Option<f64>,
}

impl TorchRandom {
    /// The generator after `manual_seed(seed)`; like PyTorch's CPU generator it uses the low 32 bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { bits: Mt19937::new(seed as u32), kept: None }
    }

    /// 24 random bits as an f32 in [0, 1).
    fn uniform_f32(&mut self) -> f32 {
        (self.bits.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// 53 random bits as an f64 in [0, 1).
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.bits.next_u32());
        let low = u64::from(self.bits.next_u32());
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / 9_007_199_254_740_992.0
    }

    /// Box-Muller in doubles; the sine is kept for the next draw.
    fn normal_f64(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        let angle = std::f64::consts::TAU * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.kept = Some(radius * angle.sin());
        radius * angle.cos()
    }

    fn fill_uniform(&mut self, out: &mut [f32]) {
        for x in out {
            *x = self.uniform_f32();
        }
    }
}

/// Box-Muller on a block: the first half gives radii, the second angles.
fn normal_block(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (r, a) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *r).ln()).sqrt();
        let angle = std::f32::consts::TAU * *a;
        *r = radius * angle.cos();
        *a = radius * angle.sin();
    }
}

impl RandomSource for TorchRandom {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        if n < BLOCK {
            // The doubles are stored in an f32 tensor.
            return (0..n).map(|_| f64::from(self.normal_f64() as f32)).collect();
        }
        let mut values = vec![0.0f32; n];
        self.fill_uniform(&mut values);
        values.chunks_exact_mut(BLOCK).for_each(normal_block);
        if !n.is_multiple_of(BLOCK) {
            let tail = &mut values[n - BLOCK..];
            self.fill_uniform(tail);
            normal_block(tail);
        }
        values.into_iter().map(f64::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() < 2e-6, "draw {i}: {g} is not {w}");
        }
    }

    #[test]
    fn long_draws_are_torchs() {
        let draws = TorchRandom::new(42).normals(64);
        assert_close(&draws[..4], &[1.92691529, 1.48728406, 0.90071720, -2.10552096]);
    }

    #[test]
    fn short_draws_are_torchs() {
        let draws = TorchRandom::new(42).normals(4);
        assert_close(&draws, &[0.33669037, 0.12880941, 0.23446237, 0.23033303]);
    }

    #[test]
    fn sixteen_values_already_count_as_long() {
        let draws = TorchRandom::new(0).normals(16);
        assert_close(&draws[..4], &[-1.12583983, -1.15236020, -0.25057858, -0.43387881]);
    }

    #[test]
    fn a_second_tensor_continues_the_stream() {
        let mut source = TorchRandom::new(42);
        source.normals(16_384);
        let second = source.normals(16_384);
        assert_close(&second[..3], &[-1.30465865, 1.45070338, 0.24427998]);
    }
}
