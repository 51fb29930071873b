//! PyTorch's CUDA generator: Philox4x32-10 counters, one block per value.
//!
//! Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011; the counter layout is that of `torch.randn` on a GPU, for tensors that fit one launch.

use super::RandomSource;

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// `torch.Generator("cuda")`, as a stream of normal tensors.
#[derive(Debug, Clone)]
pub struct NvidiaRandom {
    key: [u32; 2],
    /// Number of tensors drawn.
    offset: u32,
}

impl NvidiaRandom {
    /// The generator after `manual_seed(seed)`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], offset: 0 }
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let a = u64::from(counter[0]) * u64::from(MULTIPLIERS[0]);
        let b = u64::from(counter[2]) * u64::from(MULTIPLIERS[1]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Box-Muller's sine on two words, in doubles with constants of f32, as A1111's `rng_philox` computes it.
///
/// A GPU computes in f32, which differs by about 1e-6.
fn normal(words: [u32; 4]) -> f32 {
    const UNIT: f64 = 1.0 / 4_294_967_296.0;
    const TURN: f64 = (UNIT * std::f64::consts::TAU) as f32 as f64;
    let u = f64::from(words[0]) * UNIT + UNIT / 2.0;
    let v = f64::from(words[1]) * TURN + TURN / 2.0;
    ((-2.0 * u.ln()).sqrt() * v.sin()) as f32
}

impl RandomSource for NvidiaRandom {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        let offset = self.offset;
        self.offset = offset.wrapping_add(1);
        (0..n).map(|i| f64::from(normal(philox([offset, 0, i as u32, 0], self.key)))).collect()
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: &[f64], want: &[f64]) {
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() < 2e-6, "draw {i}: {g} is not {w}");
        }
    }

    #[test]
    fn words_are_those_of_random123() {
        // The known answers of Random123 for philox4x32-10.
        for (counter, key, want) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), want);
        }
    }

    #[test]
    fn draws_are_those_of_a_gpu() {
        let mut source = NvidiaRandom::new(42);
        let want = [0.194019, 2.1613739, -0.1720508, 0.8490602, -1.9243992, 0.6529854, -0.649441, -0.8175247];
        assert_close(&source.normals(8), &want);
        assert_close(&source.normals(2), &[0.1391375, -0.1082165]);
        assert_close(&NvidiaRandom::new(0).normals(4), &[-0.9246626, -0.4253441, -2.6438457, 0.1451839]);
    }
}
