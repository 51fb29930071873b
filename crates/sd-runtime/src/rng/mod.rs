//! Random sources that give the same noise as the tools people compare pictures with.
//!
//! A [`RandomSource`] is a stream: every call draws one tensor, and the next call continues.
//! The order and number of calls matter (PyTorch's generator draws a tensor of 15 values otherwise than one of 16), so callers draw whole tensors, never single values.
//! Nothing here is meant for cryptography.

mod mt19937;
mod numpy;
mod nvidia;
mod torch;

pub use numpy::NumpyRandom;
pub use nvidia::NvidiaRandom;
pub use torch::TorchRandom;

use host_tensor::f16;

use crate::error::{Result, RuntimeError};

/// A stream of standard normal draws.
pub trait RandomSource {
    /// Draws the next tensor of `n` standard normal values, row major.
    fn normals(&mut self, n: usize) -> Vec<f64>;

    /// The next tensor, rounded to f32.
    fn normals_f32(&mut self, n: usize) -> Vec<f32> {
        self.normals(n).into_iter().map(|x| x as f32).collect()
    }

    /// The next tensor, rounded once to f16 and widened to f32.
    ///
    /// Stable Diffusion's Core ML pipelines start from latents of this precision.
    fn normals_f16(&mut self, n: usize) -> Vec<f32> {
        self.normals(n).into_iter().map(|x| round_to_f16(x).to_f32()).collect()
    }

    /// The next tensor as start of a picture, in the precision of the tool that this source stands for: f32 unless it says otherwise.
    fn latents(&mut self, n: usize) -> Vec<f32> {
        self.normals_f32(n)
    }
}

/// The sources implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RandomKind {
    /// NumPy's legacy source, the one that Core ML pipelines use.
    #[default]
    Numpy,
    /// PyTorch on the CPU.
    Torch,
    /// PyTorch on an NVIDIA GPU.
    Nvidia,
}

impl RandomKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Numpy, Self::Torch, Self::Nvidia];

    /// The short name for command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Numpy => "numpy",
            Self::Torch => "torch",
            Self::Nvidia => "nvidia",
        }
    }

    /// A stream for a seed.
    pub fn source(self, seed: u32) -> Box<dyn RandomSource> {
        match self {
            Self::Numpy => Box::new(NumpyRandom::new(seed)),
            Self::Torch => Box::new(TorchRandom::new(seed.into())),
            Self::Nvidia => Box::new(NvidiaRandom::new(seed.into())),
        }
    }
}

impl std::fmt::Display for RandomKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for RandomKind {
    type Err = RuntimeError;

    fn from_str(s: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == s);
        found.ok_or_else(|| RuntimeError::Options(format!("random source {s} is not one of numpy, torch, nvidia")))
    }
}

/// Rounds to the nearest f16, ties to even, in one rounding.
///
/// `half`'s own conversion goes through f32 where the processor has F16C, and drops the low half of the significand where it has not; both round one draw in two thousand the wrong way.
/// Rounding to odd first keeps what the second rounding needs to know.
pub fn round_to_f16(x: f64) -> f16 {
    let nearest = x as f32;
    if f64::from(nearest) == x || nearest.is_nan() {
        return f16::from_f32(nearest);
    }
    let bits = nearest.to_bits();
    if bits & 1 == 1 {
        return f16::from_f32(nearest);
    }
    // `nearest` is even and inexact: the odd neighbour on x's side carries the sticky bit.
    let away_from_zero = x.abs() > f64::from(nearest).abs();
    let odd = if away_from_zero { bits + 1 } else { bits - 1 };
    f16::from_f32(f32::from_bits(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_rounding_happens_once() {
        // 1 + 2^-11 is half way between 1 and the next f16; a little more must round up.
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(round_to_f16(tie).to_f64(), 1.0);
        assert_eq!(round_to_f16(tie + 2f64.powi(-40)).to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(round_to_f16(-(tie + 2f64.powi(-40))).to_f64(), -(1.0 + 2f64.powi(-10)));
        assert_eq!(round_to_f16(tie - 2f64.powi(-40)).to_f64(), 1.0);
    }

    #[test]
    fn f16_rounding_keeps_signs_zeros_and_infinities() {
        assert!(round_to_f16(-0.0).is_sign_negative());
        assert_eq!(round_to_f16(1e-320).to_f32(), 0.0);
        assert_eq!(round_to_f16(65519.9).to_f32(), 65504.0);
        assert!(round_to_f16(65520.0).is_infinite());
        assert!(round_to_f16(1e300).is_infinite());
        assert!(round_to_f16(f64::NAN).is_nan());
    }
}
