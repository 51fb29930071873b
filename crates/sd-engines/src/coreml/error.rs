//! Why a model is not opened or run by Core ML.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreMlError {
    /// This is not a system of Apple's.
    #[error("Core ML is part of macOS and iOS; on this system use the cpu engine, which runs the same packages")]
    Absent,
    /// The model's files cannot be read.
    #[error(transparent)]
    Package(#[from] mlpackage::Error),
    /// There is no such function.
    #[error("the model has no function {name:?}; it has {known:?}")]
    NoFunction {
        /// The function that was asked for.
        name: String,
        /// Those that it has; none in a pipeline.
        known: Vec<String>,
    },
    /// An input or output is nothing that a pipeline hands over.
    #[error("{name} is {what}, and this engine takes and gives tensors only")]
    Feature {
        /// The feature.
        name: String,
        /// What it is.
        what: String,
    },
    /// Core ML said no.
    #[error("Core ML cannot {action} {}: {reason}", path.display())]
    Failed {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which model.
        path: PathBuf,
        /// Its own words.
        reason: String,
    },
    /// Core ML describes the model otherwise than its files do.
    #[error("{} is another model for Core ML than for this program: {what}", path.display())]
    Mismatch {
        /// The model.
        path: PathBuf,
        /// Which feature, and how it differs.
        what: String,
    },
    /// There is no place for compiled models.
    #[error("there is no folder for compiled models on this system; give one, or compile the model first")]
    NoCache,
    /// A file of the model cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The compiled model cannot be kept.
    #[error(transparent)]
    Keep(#[from] safe_files::WriteError),
    /// An input is missing, superfluous, or of another shape.
    #[error("{name}: {what}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// An output is missing, or lies in memory as no array can.
    #[error("Core ML gave {name}: {what}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody asked for it.
    #[error("stopped")]
    Stopped,
}
