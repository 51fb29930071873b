//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use sd_models::ModelError;
use sd_spec::Role;

/// Why a checkpoint, or a part of it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
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
    /// What a reference to the Hub stands for is not in the cache.
    #[error("{reference}: {what}; fetch it: smelt download {reference}")]
    NotCached {
        /// The reference.
        reference: String,
        /// What is missing, and where it was looked for.
        what: String,
    },
    /// It is not clear what a reference to the Hub stands for.
    #[error("{reference}: {what}; {next}")]
    Hub {
        /// The reference.
        reference: String,
        /// What is wrong.
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
    /// A network that should be there is not.
    #[error("{} is not there, so the checkpoint has no {role}; if it should, its download may be incomplete", path.display())]
    MissingRole {
        /// Its role.
        role: Role,
        /// Where it should be.
        path: PathBuf,
    },
    /// The checkpoint's index leaves the network out.
    #[error("the checkpoint has no {role}: {} leaves it out", path.display())]
    LeftOut {
        /// Its role.
        role: Role,
        /// The index.
        path: PathBuf,
    },
    /// A network has no weights that are read.
    #[error("{} holds {found}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A network has weights of other variants.
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
    /// A file of PyTorch is damaged, or holds what is not read.
    #[error("{}: {message}", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file of new words does not fit the checkpoint, or is none.
    #[error("{}: {message}", path.display())]
    Embedding {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A configuration is not that of a network which is known here.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ModelError,
    },
    /// A file is no LoRA, is damaged, or does not fit the checkpoint.
    #[error("{}: {message}", path.display())]
    Lora {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// An adapter does not fit the checkpoint.
    #[error("{0}")]
    Adapter(String),
}

fn variants(found: &[String], asked: Option<&str>) -> String {
    match asked {
        Some(asked) => format!("no weights of the variant {asked}, only {}", found.join(", ")),
        None => format!("weights of the variants {}; choose with --variant", found.join(", ")),
    }
}
