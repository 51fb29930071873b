//! Arguments that choose what executes models, shared by every command that runs one.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use smelt::{
    ComputePrecision, DEVICES, Device, ENGINES, EngineKind, EngineSpec, Names, WEIGHT_FORMS, WeightForm, parse_bytes,
};

use crate::file::cache_folder;

/// What executes models, and with how many threads.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EngineArgs {
    /// What executes models: the fast engine for this CPU, the plain one that it is checked with, Burn, or Core ML.
    #[arg(long, value_name = "NAME", default_value = "cpu", value_parser = named(ENGINES))]
    pub(crate) engine: EngineKind,
    /// What --engine burn runs on, by default flex, the CPU (others stand behind features: burn-cuda, burn-wgpu, …), or
    /// --engine coreml, by default all.
    #[arg(long, value_name = "NAME", value_parser = named(DEVICES))]
    pub(crate) device: Option<Device>,
    /// Have Core ML take longer to load models, so that they run quickly; on macOS 15 and iOS 18.
    #[arg(long)]
    pub(crate) fast_prediction: bool,
    /// Threads; default: one for each core. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What the fast engine rounds operands of products to; sums and everything else are in f32 (docs/numerics.md).
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = compute())]
    pub(crate) compute: ComputePrecision,
    /// How the fast engine holds compressed weights: as stored, or decoded when it loads them, which is some percent
    /// faster and takes the memory that they would take uncompressed. Results are the same.
    #[arg(long, value_name = "FORM", default_value = "stored", value_parser = named(WEIGHT_FORMS))]
    pub(crate) weights: WeightForm,
}

fn compute() -> impl TypedValueParser<Value = ComputePrecision> {
    PossibleValuesParser::new(ComputePrecision::ALL.map(ComputePrecision::name)).try_map(|name| name.parse())
}

/// A size of memory, such as 1.5G.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "it is no size of memory, such as 800M or 1.5G".to_owned())
}

/// Reads one of these names.
pub(crate) fn named<T: Copy + Send + Sync + 'static>(names: Names<T>) -> impl TypedValueParser<Value = T> {
    let possible = names.iter().map(|(_, name, words)| PossibleValue::new(*name).help(*words));
    PossibleValuesParser::new(possible).map(|text| {
        let found = names.iter().find(|(_, name, _)| *name == text);
        found.expect("invariant: clap lets these names pass only").0
    })
}

/// The instruction set that the environment variable `SMELT_ISA` names.
pub(crate) fn isa() -> Option<String> {
    std::env::var("SMELT_ISA").ok().filter(|name| !name.is_empty())
}

impl EngineArgs {
    /// What was typed, as the library takes it; only `generate` and `run` have a limit.
    pub(crate) fn spec(&self) -> EngineSpec {
        EngineSpec {
            kind: self.engine,
            threads: self.threads,
            compute: self.compute,
            weights: self.weights,
            device: self.device,
            fast_prediction: self.fast_prediction,
            cache: cache_folder(),
            vae_memory: None,
            isa: isa(),
        }
    }
}
