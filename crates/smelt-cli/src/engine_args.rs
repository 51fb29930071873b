//! Arguments that choose what executes models, shared by every command that runs one.

use std::num::NonZeroUsize;

use anyhow::{Result, anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use sd_engines::{CpuOptions, Executor, Isa, Options, Precision, Rounding, UnknownIsa, WeightForm};

/// What executes models, and with how many threads.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EngineArgs {
    /// What executes models: the fast engine for this CPU, the plain one that it is checked with, or Burn.
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub(crate) engine: EngineName,
    /// Threads; default: one for each core. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What the fast engine rounds operands of products to; sums and everything else are in f32 (docs/numerics.md).
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = compute())]
    pub(crate) compute: Precision,
    /// How the fast engine holds compressed weights: as stored, or decoded when it loads them, which is some percent
    /// faster and takes the memory that they would take uncompressed. Results are the same.
    #[arg(long, value_name = "FORM", default_value = "stored")]
    pub(crate) weights: WeightsName,
}

/// Threads that the machine runs at once.
fn available() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Names of forms of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    /// Decoded while they are multiplied.
    Stored,
    /// Decoded once.
    Expanded,
}

impl From<WeightsName> for WeightForm {
    fn from(name: WeightsName) -> Self {
        match name {
            WeightsName::Stored => Self::Stored,
            WeightsName::Expanded => Self::Expanded,
        }
    }
}

fn compute() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).try_map(|name| name.parse())
}

/// Names of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// Planned and fused, with kernels for the machine's instruction set.
    Cpu,
    /// Every operation by its definition.
    Reference,
    /// A checkpoint's networks by Burn itself, without MIL; for `generate`, in builds with the feature `burn`.
    Burn,
}

/// Names of Burn's devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceName {
    /// The CPU.
    #[default]
    Flex,
    /// NVIDIA's GPUs.
    Cuda,
    /// Apple's GPUs.
    Metal,
    /// AMD's GPUs.
    Rocm,
    /// GPUs by Vulkan.
    Vulkan,
    /// GPUs by WebGPU's shaders.
    Webgpu,
    /// GPUs by whatever the system offers.
    Wgpu,
}

#[cfg(feature = "burn")]
impl From<DeviceName> for sd_engines::BurnDevice {
    fn from(name: DeviceName) -> Self {
        match name {
            DeviceName::Flex => Self::Flex,
            DeviceName::Cuda => Self::Cuda,
            DeviceName::Metal => Self::Metal,
            DeviceName::Rocm => Self::Rocm,
            DeviceName::Vulkan => Self::Vulkan,
            DeviceName::Webgpu => Self::WebGpu,
            DeviceName::Wgpu => Self::Wgpu,
        }
    }
}

/// The instruction set that the environment variable `SMELT_ISA` names, or else the machine's best.
pub(crate) fn isa() -> Result<Isa, UnknownIsa> {
    match std::env::var("SMELT_ISA") {
        Ok(name) if !name.is_empty() => name.parse(),
        _ => Ok(Isa::best()),
    }
}

/// The fast engine's options when nothing else is asked for: it keeps what does not change between a picture's steps.
pub(crate) fn cpu_default() -> Result<CpuOptions> {
    let isa = isa().map_err(|error| anyhow!("SMELT_ISA: {error}"))?;
    Ok(CpuOptions::default().with_isa(isa).with_steady(sd_spec::steady_inputs()))
}

impl EngineArgs {
    /// The fast engine's options.
    pub(crate) fn cpu(&self) -> Result<CpuOptions> {
        let options = cpu_default()?.with_precision(self.compute).with_weights(self.weights.into());
        Ok(match self.n_threads() {
            Some(n) => options.with_threads(n.get()),
            None => options,
        })
    }

    /// The threads that were asked for, at most as many as the machine runs at once: more only wait for each other.
    pub(crate) fn n_threads(&self) -> Option<NonZeroUsize> {
        self.threads.map(|n| n.min(available()))
    }

    /// What the user should know of what is used instead.
    pub(crate) fn warning(&self) -> Option<String> {
        let (asked, there) = (self.threads?, available());
        (asked > there).then(|| format!("--threads {asked} is more than this machine runs at once; {there} are used"))
    }

    /// What executes a model whose results are rounded so; only the plain engine rounds between operations.
    pub(crate) fn executor(&self, rounding: Rounding) -> Result<Executor> {
        self.check_runs_packages()?;
        self.check()?;
        if rounding != Rounding::Boundary && (self.compute != Precision::F32 || self.weights != WeightsName::Stored) {
            bail!(
                "--compute and --weights are the cpu engine's, and only the reference engine rounds every result as \
                 declared; leave --rounding out, or them"
            );
        }
        Ok(match (self.engine, rounding) {
            (EngineName::Cpu, Rounding::Boundary) => self.cpu()?.into(),
            _ => Options::default().with_rounding(rounding).into(),
        })
    }

    /// Refuses what the chosen engine would not heed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.engine {
            EngineName::Reference | EngineName::Burn if self.compute != Precision::F32 => {
                bail!("--compute {} is for --engine cpu only; leave one of them out", self.compute)
            }
            EngineName::Reference | EngineName::Burn if self.weights != WeightsName::Stored => {
                bail!("--weights expanded is for --engine cpu only; leave one of them out")
            }
            EngineName::Reference if self.threads.is_some() => bail!(
                "--threads is for --engine cpu and burn; the reference engine takes the number of its threads from \
                 the environment: RAYON_NUM_THREADS=N smelt …"
            ),
            _ => Ok(()),
        }
    }

    /// Refuses engines that have no plan whose steps could be measured.
    pub(crate) fn check_has_plans(&self) -> Result<()> {
        self.check_runs_packages()?;
        match self.engine {
            EngineName::Reference => bail!(
                "the reference engine has no plan to measure, so bench is for --engine cpu; \
                 smelt run --engine reference says how long one run takes"
            ),
            _ => self.check(),
        }
    }

    /// Refuses the engine that runs checkpoints and no packages.
    pub(crate) fn check_runs_packages(&self) -> Result<()> {
        match self.engine {
            EngineName::Cpu | EngineName::Reference => Ok(()),
            EngineName::Burn => bail!(
                "the burn engine executes the networks of a checkpoint, and packages hold MIL programs; \
                 it is for smelt generate -m CHECKPOINT"
            ),
        }
    }
}
