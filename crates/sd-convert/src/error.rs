//! What can go wrong in a conversion.

use sd_models::Component;
use std::path::PathBuf;

/// Why a checkpoint was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is larger than any real one of its kind.
    #[error("{}: {bytes} bytes, more than the {limit} that such a file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The checkpoint path is not a directory.
    #[error("{}: not a directory; give the directory of a diffusers checkpoint, the one with model_index.json", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds no checkpoint.
    #[error("{}: no model_index.json and no component folder (unet, vae, text_encoder); is this a diffusers checkpoint?", path.display())]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
    },
    /// A component's folder is missing.
    #[error("{}: the checkpoint has no {component}", path.display())]
    MissingComponent {
        /// The component.
        component: Component,
        /// Where it should be.
        path: PathBuf,
    },
    /// A component has no weights.
    #[error("{}: no .safetensors weights (older .bin files must be saved anew as safetensors)", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A safetensors file or its index is damaged.
    #[error("{}: {message}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The configuration, or the tensors beside it, do not make this network.
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
    #[error("{component}: {source}")]
    Lower {
        /// The component.
        component: Component,
        /// What is wrong.
        source: burn_mil::LowerError,
    },
    /// A rewrite was refused.
    #[error("{component}: {source}")]
    Pass {
        /// The component.
        component: Component,
        /// What is wrong.
        source: mil::OpError,
    },
    /// The program that came out is not valid; this is a defect of Smelt.
    #[error("{component}: the lowered program is not valid; please report this:\n{faults}")]
    Invalid {
        /// The component.
        component: Component,
        /// All faults.
        faults: mil::Faults,
    },
    /// A converted component could not be run.
    #[error("{component}: it cannot be run: {source}")]
    Run {
        /// The component.
        component: Component,
        /// What is wrong.
        source: mil_engine::EngineError,
    },
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
