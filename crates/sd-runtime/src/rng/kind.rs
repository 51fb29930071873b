//! The random sources by name.

use super::{NumpyGenerator, NumpyRandom, NvidiaRandom, RandomSource, TorchRandom, TorchType};
use crate::error::{Result, RuntimeError};

/// The sources implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RandomKind {
    /// NumPy's legacy source, the one that Core ML pipelines use.
    #[default]
    Numpy,
    /// NumPy's newer generator.
    NumpyPcg64,
    /// PyTorch on the CPU, tensors of f32.
    Torch,
    /// PyTorch on the CPU, tensors of f16.
    TorchF16,
    /// PyTorch on the CPU, tensors of bfloat16.
    TorchBf16,
    /// PyTorch on an NVIDIA GPU.
    Nvidia,
}

/// One source: its names, its seeds, and how it is made.
struct Entry {
    kind: RandomKind,
    /// On command lines, in JSON and in the settings of pictures.
    name: &'static str,
    /// Other names that are read, and never written.
    aliases: &'static [&'static str],
    /// What it is, in a line.
    summary: &'static str,
    /// The largest seed that the tool takes.
    max_seed: u64,
    source: fn(u64) -> Box<dyn RandomSource>,
}

/// In the order of the enum, which is the order in which people see them.
static TABLE: [Entry; 6] = [
    Entry {
        kind: RandomKind::Numpy,
        name: "numpy",
        aliases: &["numpy-legacy", "randomstate"],
        summary: "NumPy's RandomState, as Core ML pipelines use it",
        max_seed: u32::MAX as u64,
        // Larger seeds have been refused by then.
        source: |seed| Box::new(NumpyRandom::new(seed as u32)),
    },
    Entry {
        kind: RandomKind::NumpyPcg64,
        name: "numpy-pcg64",
        aliases: &["pcg64", "default-rng"],
        summary: "NumPy's default_rng (PCG64)",
        max_seed: u64::MAX,
        source: |seed| Box::new(NumpyGenerator::new(seed.into())),
    },
    Entry {
        kind: RandomKind::Torch,
        name: "torch",
        aliases: &["torch-cpu", "cpu"],
        summary: "PyTorch's on a CPU",
        max_seed: u64::MAX,
        source: |seed| Box::new(TorchRandom::new(seed)),
    },
    Entry {
        kind: RandomKind::TorchF16,
        name: "torch-f16",
        aliases: &["torch-half"],
        summary: "PyTorch's on a CPU, for pipelines in float16",
        max_seed: u64::MAX,
        source: |seed| Box::new(TorchRandom::of_type(seed, TorchType::F16)),
    },
    Entry {
        kind: RandomKind::TorchBf16,
        name: "torch-bf16",
        aliases: &["torch-bfloat16"],
        summary: "PyTorch's on a CPU, for pipelines in bfloat16",
        max_seed: u64::MAX,
        source: |seed| Box::new(TorchRandom::of_type(seed, TorchType::Bf16)),
    },
    Entry {
        kind: RandomKind::Nvidia,
        name: "nvidia",
        aliases: &["nv", "cuda", "philox"],
        summary: "PyTorch's on an NVIDIA GPU",
        max_seed: u64::MAX,
        source: |seed| Box::new(NvidiaRandom::new(seed)),
    },
];

impl RandomKind {
    /// Every kind.
    pub const ALL: [Self; TABLE.len()] =
        [Self::Numpy, Self::NumpyPcg64, Self::Torch, Self::TorchF16, Self::TorchBf16, Self::Nvidia];

    fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The short name, for command lines, JSON and the settings in pictures.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Other names that are read, and never written.
    #[must_use]
    pub fn aliases(self) -> &'static [&'static str] {
        self.entry().aliases
    }

    /// What it is, in a line.
    #[must_use]
    pub fn summary(self) -> &'static str {
        self.entry().summary
    }

    /// The largest seed that the tool itself takes.
    #[must_use]
    pub fn max_seed(self) -> u64 {
        self.entry().max_seed
    }

    /// A stream for a seed.
    ///
    /// PyTorch's generator on a CPU takes seeds of 64 bits and uses the lower 32, so 2³² + 42 draws what 42 draws.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for a seed above [`max_seed`](Self::max_seed), which NumPy's legacy source refuses too.
    pub fn source(self, seed: u64) -> Result<Box<dyn RandomSource>> {
        self.check_seed(seed)?;
        Ok((self.entry().source)(seed))
    }

    /// Checks that the tool takes a seed.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn check_seed(self, seed: u64) -> Result<()> {
        if seed > self.max_seed() {
            let others = Self::ALL.into_iter().filter(|kind| seed <= kind.max_seed()).map(Self::name);
            return Err(RuntimeError::Options(format!(
                "seed {seed} is too large for the random source {self}, which takes 0 to {} as NumPy does; {} take larger ones",
                self.max_seed(),
                others.collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(())
    }
}

impl std::fmt::Display for RandomKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for RandomKind {
    type Err = RuntimeError;

    /// Accepts the short name or an alias.
    fn from_str(s: &str) -> Result<Self> {
        let found = TABLE.iter().find(|entry| entry.name == s || entry.aliases.contains(&s));
        found.map(|entry| entry.kind).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            RuntimeError::Options(format!("random source {s} is not one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_each_of_its_names() {
        for (place, kind) in RandomKind::ALL.into_iter().enumerate() {
            assert_eq!((TABLE[place].kind, kind.entry().kind), (kind, kind));
            for name in kind.aliases().iter().chain([&kind.name()]) {
                assert_eq!(name.parse::<RandomKind>().unwrap(), kind, "{name}");
            }
        }
        let error = "dice".parse::<RandomKind>().unwrap_err().to_string();
        assert_eq!(error, "random source dice is not one of numpy, numpy-pcg64, torch, torch-f16, torch-bf16, nvidia");
    }

    #[test]
    fn seeds_that_the_tool_refuses_are_refused_by_name() {
        assert!(RandomKind::Numpy.source(u32::MAX.into()).is_ok());
        let error = RandomKind::Numpy.source(1 << 32).err().unwrap().to_string();
        assert!(error.contains("seed 4294967296 is too large for the random source numpy"), "{error}");
        assert!(error.contains("0 to 4294967295") && error.contains("torch") && error.contains("nvidia"), "{error}");
        for kind in RandomKind::ALL.into_iter().filter(|kind| *kind != RandomKind::Numpy) {
            assert!(kind.source(u64::MAX).is_ok(), "{kind}");
        }
    }
}
