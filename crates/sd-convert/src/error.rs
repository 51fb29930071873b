//! What can go wrong in a conversion.

use sd_spec::Role;
use std::path::PathBuf;

/// Why a checkpoint was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The checkpoint, or a part of it, cannot be read, or is something else.
    #[error(transparent)]
    Checkpoint(#[from] sd_checkpoint::CheckpointError),
    /// The network can be read and not converted.
    #[error("{}: {what}", path.display())]
    Unsupported {
        /// The file that says what it is.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The tensors do not make the network that the configuration describes.
    #[error("{}: {source}", path.display())]
    Model {
        /// The component's folder.
        path: PathBuf,
        /// What is wrong.
        source: sd_models::ModelError,
    },
    /// An option does not fit the checkpoint.
    #[error("{0}")]
    Option(String),
    /// The network could not be lowered.
    #[error("{role}: {source}")]
    Lower {
        /// The component.
        role: Role,
        /// What is wrong.
        source: burn_mil::LowerError,
    },
    /// A rewrite was refused.
    #[error("{role}: {source}")]
    Pass {
        /// The component.
        role: Role,
        /// What is wrong.
        source: mil::pass::PassError,
    },
    /// The program that came out is not valid; this is a defect of Smelt.
    #[error("{role}: the lowered program is not valid; please report this:\n{faults}")]
    Invalid {
        /// The component.
        role: Role,
        /// All faults.
        faults: mil::Faults,
    },
    /// A converted component could not be run.
    #[error("{role}: it cannot be run: {source}")]
    Run {
        /// The component.
        role: Role,
        /// What is wrong.
        source: mil_engine::EngineError,
    },
    /// A program could not be run.
    #[error("the program cannot be run: {0}")]
    Execute(mil_engine::EngineError),
    /// A package could not be read or written.
    #[error(transparent)]
    Package(#[from] mlpackage::Error),
    /// Weights could not be compressed as asked.
    #[error(transparent)]
    Compress(#[from] mil_compress::CompressError),
    /// A model is not valid, or has operations that are not implemented.
    #[error("{}", invalid_program(.0))]
    InvalidProgram(mil::Faults),
    /// A model could not be cut into chunks.
    #[error(transparent)]
    Split(mil::SplitError),
}

/// Every breach, or what is not implemented where there is none.
fn invalid_program(faults: &mil::Faults) -> String {
    if faults.unimplemented().is_empty() { format!("the program is not valid:\n{faults}") } else { faults.summary() }
}
