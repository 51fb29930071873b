//! What can go wrong in a conversion.

use sd_spec::Role;
use std::path::PathBuf;

/// Why a checkpoint was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A file could not be read, or is something else than its name says.
    #[error(transparent)]
    Read(#[from] safe_files::ReadError),
    /// A file is no JSON object.
    #[error("{} is not the JSON that it should be: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },
    /// Something else stands where a checkpoint or a package was expected.
    #[error("{} is {what}; {next}", path.display())]
    Place {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        next: String,
    },
    /// A checkpoint says that a part of it is something that cannot be converted.
    #[error("{}: {what}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What it is, and what is supported.
        what: String,
    },
    /// A component that should be there is not.
    #[error("{} is not there, so the checkpoint has no {role}; if it should, its download may be incomplete", path.display())]
    MissingComponent {
        /// The component.
        role: Role,
        /// Where it should be.
        path: PathBuf,
    },
    /// The checkpoint's index does not have the component.
    #[error("the checkpoint has no {role}: {} leaves it out", path.display())]
    LeftOut {
        /// The component.
        role: Role,
        /// The index.
        path: PathBuf,
    },
    /// A component has no weights that are read.
    #[error("{} holds {found}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A component has weights of other variants.
    #[error("{} has {}", path.display(), variants(found, asked.as_deref()))]
    Variants {
        /// The folder.
        path: PathBuf,
        /// The variants that are there.
        found: Vec<String>,
        /// The one that was asked for.
        asked: Option<String>,
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
        source: mil::OpError,
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

fn variants(found: &[String], asked: Option<&str>) -> String {
    match asked {
        Some(asked) => format!("no weights of the variant {asked}, only {}", found.join(", ")),
        None => format!("weights of the variants {}; choose with --variant", found.join(", ")),
    }
}

/// Every breach, or what is not implemented where there is none.
fn invalid_program(faults: &mil::Faults) -> String {
    if faults.unimplemented().is_empty() { format!("the program is not valid:\n{faults}") } else { faults.summary() }
}
