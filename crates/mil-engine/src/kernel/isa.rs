//! Which instruction sets this machine has, and which one is used.

#[cfg(target_arch = "x86_64")]
use super::{AVX2, AVX512, AVX512_BF16};
use super::{Kernels, PORTABLE};
use std::{fmt, str::FromStr};

/// An instruction set for which there are kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What every machine of the target has: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// A name that is no instruction set's, or one that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: this machine's instruction sets are {available}")]
pub struct UnknownIsa {
    /// The name.
    pub name: String,
    /// Names that would do.
    pub available: String,
}

impl Isa {
    /// Every instruction set of this machine, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let all = [Self::Portable, Self::Avx2, Self::Avx512];
        all.into_iter().filter(|isa| isa.exists()).collect()
    }

    /// The best that this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    #[cfg(target_arch = "x86_64")]
    fn exists(self) -> bool {
        let avx2 =
            || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2(),
            Self::Avx512 => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Whether this machine has instructions for products of bf16 numbers beside those of the instruction set;
    /// without them such products cost more than those in `f32`.
    #[must_use]
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Self::Avx512 && self.exists() && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn exists(self) -> bool {
        self == Self::Portable
    }

    /// Its name, as it is parsed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Multiplies and adds in `f32` as fast as one thread can, for about `seconds`, and returns GFLOP/s.
    #[must_use]
    pub fn peak_gflops(self, seconds: f64) -> f64 {
        let Kernels { peak: run, peak_flops: flops, .. } = *kernels(self);
        let (start, mut rounds) = (std::time::Instant::now(), 0usize);
        loop {
            // SAFETY: `kernels` gives functions of instruction sets that exist.
            unsafe { run(512) };
            rounds += 512;
            let elapsed = start.elapsed().as_secs_f64();
            if elapsed >= seconds {
                return (rounds * flops) as f64 / elapsed / 1e9;
            }
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        let available = Self::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa {
            name: name.into(),
            available: available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The kernels of an instruction set; those of the portable one where it does not exist.
pub(crate) fn kernels(isa: Isa) -> &'static Kernels {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if isa.exists() => &AVX2,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if isa.multiplies_bf16() => &AVX512_BF16,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if isa.exists() => &AVX512,
        _ => &PORTABLE,
    }
}
