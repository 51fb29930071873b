//! Engines: what executes the models of a pipeline.
//!
//! Each implements [`sd_runtime::Engine`] and stands behind a feature of its own, so that a build carries only what it runs:
//!
//! | feature | engine | runs |
//! |---|---|---|
//! | `mil` (default) | [`MilEngine`] | Core ML packages and MIL programs, on any system |
//!
//! Nothing here knows what a model is for: prompts, steps and pictures are `sd-runtime`'s.

#[cfg(feature = "mil")]
mod error;
#[cfg(feature = "mil")]
mod mil_cpu;

#[cfg(feature = "mil")]
pub use error::EngineError;
#[cfg(feature = "mil")]
pub use mil_cpu::{
    CpuOptions, Executor, Isa, MilEngine, Options, PlanSummary, Precision, Profile, Rounding, StepSummary, Weights,
};
