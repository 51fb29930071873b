//! Engines: what executes the models of a pipeline.
//!
//! Each implements [`sd_runtime::Engine`] and stands behind a feature of its own, so that a build carries only what it runs:
//!
//! | feature | engine | runs |
//! |---|---|---|
//! | `mil` (default) | [`MilEngine`] | Core ML packages and MIL programs, on any system |
//! | `coreml` (default) | [`CoreMlEngine`] | Core ML packages and compiled models, by Core ML itself; elsewhere than on macOS and iOS it refuses by name |
//! | `burn` | `BurnEngine` | checkpoints: the networks themselves, on Burn's CPU backend |
//! | `burn-cuda`, `-metal`, `-rocm`, `-vulkan`, `-webgpu`, `-wgpu` | `BurnEngine` | the same on GPUs |
//!
//! ```no_run
//! # #[cfg(feature = "mil")]
//! # fn main() -> Result<(), sd_runtime::EngineError> {
//! use sd_engines::{CpuOptions, MilEngine};
//! use sd_runtime::{Engine, Stop, Tensors};
//!
//! let mut decoder = MilEngine::open("VAEDecoder.mlpackage", CpuOptions::default())?;
//! let z = decoder.signature().input("z").and_then(|z| z.shape.dims()).unwrap_or_default().to_vec();
//! let latents = host_tensor::HostTensor::from_f32(z.clone(), vec![0.0; z.iter().product()]);
//! let outputs = decoder.run(&Tensors::from([("z".to_owned(), latents)]), &Stop::never())?;
//! # drop(outputs);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "mil"))]
//! # fn main() {}
//! ```
//!
//! [`Chain`] runs several models as one, whatever executes each of them.
//! Nothing here knows what a model is for: prompts, steps and pictures are `sd-runtime`'s.

#[cfg(feature = "burn")]
mod burn;
mod burn_device;
mod chain;
#[cfg(feature = "coreml")]
mod coreml;
#[cfg(feature = "mil")]
mod error;
#[cfg(feature = "mil")]
mod mil_cpu;

#[cfg(feature = "burn")]
pub use burn::{BurnEngine, BurnError, BurnOptions};
pub use burn_device::BurnDevice;
pub use chain::{Chain, ChainError};
#[cfg(feature = "coreml")]
pub use coreml::{
    ComputeDevice, ComputePlan, ComputeUnits, CoreMlEngine, CoreMlError, CoreMlOptions, DeviceSum, PlannedOperation,
};
#[cfg(feature = "mil")]
pub use error::EngineError;
#[cfg(feature = "mil")]
pub use mil_cpu::{
    Cause, CpuOptions, Executor, Isa, MilEngine, NonFinite, Options, PlanSummary, Precision, Profile, Rounding,
    Specialise, StepSummary, UnknownIsa, WeightForm, Weights,
};
