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

use host_tensor::f16_from_f64;

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
        self.normals(n).into_iter().map(|x| f16_from_f64(x).to_f32()).collect()
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
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Numpy => "numpy",
            Self::Torch => "torch",
            Self::Nvidia => "nvidia",
        }
    }

    /// A stream for a seed.
    #[must_use]
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
