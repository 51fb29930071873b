//! Arguments that choose what executes models, shared by every command that runs one.

use std::num::NonZeroUsize;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use smelt::{ComputePrecision, Device, EngineKind, EngineSpec, WeightForm};

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
    pub(crate) compute: ComputePrecision,
    /// How the fast engine holds compressed weights: as stored, or decoded when it loads them, which is some percent
    /// faster and takes the memory that they would take uncompressed. Results are the same.
    #[arg(long, value_name = "FORM", default_value = "stored")]
    pub(crate) weights: WeightsName,
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

fn compute() -> impl TypedValueParser<Value = ComputePrecision> {
    PossibleValuesParser::new(ComputePrecision::ALL.map(ComputePrecision::name)).try_map(|name| name.parse())
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

impl From<DeviceName> for Device {
    fn from(name: DeviceName) -> Self {
        match name {
            DeviceName::Flex => Self::Flex,
            DeviceName::Cuda => Self::Cuda,
            DeviceName::Metal => Self::Metal,
            DeviceName::Rocm => Self::Rocm,
            DeviceName::Vulkan => Self::Vulkan,
            DeviceName::Webgpu => Self::Webgpu,
            DeviceName::Wgpu => Self::Wgpu,
        }
    }
}

impl From<EngineName> for EngineKind {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Cpu => Self::Cpu,
            EngineName::Reference => Self::Reference,
            EngineName::Burn => Self::Burn,
        }
    }
}

/// The instruction set that the environment variable `SMELT_ISA` names.
pub(crate) fn isa() -> Option<String> {
    std::env::var("SMELT_ISA").ok().filter(|name| !name.is_empty())
}

impl EngineArgs {
    /// What was typed, as the library takes it; only `generate` has devices.
    pub(crate) fn spec(&self, device: Option<DeviceName>) -> EngineSpec {
        EngineSpec {
            kind: self.engine.into(),
            threads: self.threads,
            compute: self.compute,
            weights: self.weights.into(),
            device: device.map(Device::from),
            isa: isa(),
        }
    }
}
