//! PyTorch's CPU generator: `torch.manual_seed(seed); torch.randn(n, dtype=…)`.
//!
//! Sixteen values or more are drawn in blocks of sixteen, the last block again over the tail; fewer are drawn as doubles one by one, of which one may be left for the next short tensor.
//! PyTorch's vector kernels approximate `log` and `cos`, so values of f32 agree with it to about 1e-6, not bit for bit.

use host_tensor::{bf16, f16_from_f64};

use super::{RandomSource, mt19937::Mt19937};

/// Values per block of long tensors.
const BLOCK: usize = 16;

/// The element type of the tensors that are drawn, which decides how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TorchType {
    /// float32.
    #[default]
    F32,
    /// float16: the draws of f32, rounded, but for the end of tensors whose length is no multiple of 16.
    F16,
    /// bfloat16: as float16.
    Bf16,
    /// float64: other draws, as each takes two words.
    F64,
}

/// `torch.Generator("cpu")`, as a stream of normal tensors.
#[derive(Clone)]
pub struct TorchRandom {
    bits: Mt19937,
    kept: Option<f64>,
    dtype: TorchType,
}

/// When the tail of a tensor, which is no whole block, draws again.
#[derive(Clone, Copy)]
enum Tail {
    /// After all of the tensor was drawn, the tail included.
    AfterAll,
    /// After the whole blocks.
    AfterBlocks,
}

impl TorchRandom {
    /// The generator after `manual_seed(seed)`; like PyTorch's CPU generator it uses the low 32 bits.
    ///
    /// Negative seeds are those of two's complement: −1 is [`u64::MAX`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of_type(seed, TorchType::F32)
    }

    /// The generator for tensors of a type.
    #[must_use]
    pub fn of_type(seed: u64, dtype: TorchType) -> Self {
        Self { bits: Mt19937::new(seed as u32), kept: None, dtype }
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

    /// A tensor of at least one block.
    fn long<F: Copy + Default>(
        &mut self,
        n: usize,
        tail: Tail,
        uniform: fn(&mut Self) -> F,
        normal_block: fn(&mut [F]),
    ) -> Vec<F> {
        let mut values = vec![F::default(); n];
        let first = match tail {
            Tail::AfterAll => n,
            Tail::AfterBlocks => n - n % BLOCK,
        };
        values[..first].iter_mut().for_each(|x| *x = uniform(self));
        values.chunks_exact_mut(BLOCK).for_each(normal_block);
        if !n.is_multiple_of(BLOCK) {
            let tail = &mut values[n - BLOCK..];
            tail.iter_mut().for_each(|x| *x = uniform(self));
            normal_block(tail);
        }
        values
    }
}

/// Box-Muller on a block: the first half gives radii, the second angles.
fn block_f32(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (r, a) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *r).ln()).sqrt();
        let angle = std::f32::consts::TAU * *a;
        *r = radius * angle.cos();
        *a = radius * angle.sin();
    }
}

/// The same in doubles.
fn block_f64(block: &mut [f64]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (r, a) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *r).ln()).sqrt();
        let angle = std::f64::consts::TAU * *a;
        *r = radius * angle.cos();
        *a = radius * angle.sin();
    }
}

impl TorchType {
    /// A value as a tensor of the type holds it; PyTorch goes by way of f32.
    fn stored(self, x: f64) -> f64 {
        match self {
            Self::F64 => x,
            Self::F32 => f64::from(x as f32),
            Self::F16 => f16_from_f64(f64::from(x as f32)).to_f64(),
            Self::Bf16 => bf16::from_f32(x as f32).to_f64(),
        }
    }
}

impl RandomSource for TorchRandom {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        let dtype = self.dtype;
        if n < BLOCK {
            return (0..n).map(|_| dtype.stored(self.normal_f64())).collect();
        }
        let tail = match dtype {
            TorchType::F64 => return self.long(n, Tail::AfterAll, Self::uniform_f64, block_f64),
            TorchType::F32 => Tail::AfterAll,
            TorchType::F16 | TorchType::Bf16 => Tail::AfterBlocks,
        };
        let values = self.long(n, tail, Self::uniform_f32, block_f32);
        values.into_iter().map(|x| dtype.stored(f64::from(x))).collect()
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
