//! What a package or a checkpoint holds, as data.

mod bundle;
mod checkpoint;
mod embedding;
mod facts;
mod hashes;
mod lora;
mod programs;
mod weights;

use mlpackage::Package;
use sd_engines::MilEngine;

use crate::engine::cpu_default;
use crate::error::{Context, Result};
pub use crate::settings::WordFacts;
pub use bundle::BundleFacts;
pub use checkpoint::{AveragesFacts, CheckpointFacts, ComponentFacts};
pub use embedding::{EmbeddingFile, EncoderVectors, LearnedWord};
pub use facts::{Facts, FeatureFacts, FileFacts, FunctionFacts, ItemFacts, ModelFacts, PackageFacts, WeightFacts};
pub use hashes::HashFacts;
pub use lora::{LoraFile, LoraFit};
pub use programs::{LeftOut, MissingFile, ProgramFacts, Reading};
pub use weights::{StoredWeights, WeightEncoding, WeightOrder, WeightRow};

/// The programs of a package in MIL's text form.
#[must_use]
pub fn mil_text(package: &Package) -> Vec<String> {
    let print = |program| mil::text::print(program, &mil::text::PrintOptions::default()).text;
    package.model().programs().into_iter().map(print).collect()
}

/// The fast engine's plans for a package, in words; `isa` names the instruction set.
///
/// # Errors
/// When it cannot be planned.
pub fn plan_text(package: &Package, isa: Option<&str>) -> Result<Vec<String>> {
    let cannot = || format!("cannot plan {}", package.path().display());
    let options = cpu_default(isa).with_context(cannot)?;
    let engine = MilEngine::from_model(package.model(), options).with_context(cannot)?;
    Ok(engine.plans().into_iter().map(|(name, plan)| format!("{name}: {plan}")).collect())
}
