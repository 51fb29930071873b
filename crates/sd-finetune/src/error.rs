//! Why a network cannot be trained.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// The checkpoint's tensors are not the network's.
    #[error(transparent)]
    Model(#[from] sd_models::ModelError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] sd_checkpoint::CheckpointError),
    /// A feature is needed that the samples do not have.
    #[error("the samples have no {name}, which the network needs")]
    MissingFeature {
        /// Its name.
        name: String,
    },
    /// A feature has another number of dimensions than the network takes.
    #[error("samples of {name} have shape {found:?}, and the network takes {rank} dimensions")]
    FeatureRank {
        /// Its name.
        name: String,
        /// What the network takes.
        rank: usize,
        /// What is there.
        found: Vec<usize>,
    },
    /// A target is not what the network gives.
    #[error("the target of {name} has shape {found:?}, and the network gives {expected:?}")]
    TargetShape {
        /// The output.
        name: String,
        /// What the network gives.
        expected: Vec<usize>,
        /// What is there.
        found: Vec<usize>,
    },
    /// A token id is not in the vocabulary.
    #[error("samples of {name} hold the id {id}, which is not in 0 to {}", .limit - 1)]
    TokenId {
        /// The feature.
        name: String,
        /// The id.
        id: i64,
        /// Tokens in the vocabulary.
        limit: usize,
    },
    /// The network gave nothing.
    #[error("the network has no output to compare")]
    NoOutputs,
    /// The device failed while computing.
    #[error("{name}: the device failed: {reason}")]
    Device {
        /// What was waited for.
        name: String,
        /// What Burn says.
        reason: String,
    },
    /// A weight cannot have such palettes.
    #[error("weight {name}: {reason}")]
    Weight {
        /// The key in the checkpoint.
        name: String,
        /// Why.
        reason: String,
    },
    /// Guidance was asked for, and there is nothing to guide.
    #[error(
        "guidance is trained on pairs, the negative prompt's sample and the prompt's; these samples are none, so calibrate \
         with guidance above 1"
    )]
    NoPairs,
    /// The recipe makes no sense.
    #[error("the recipe asks for {reason}")]
    Recipe {
        /// What it asks for, and what can be.
        reason: String,
    },
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] safe_files::WriteError),
    /// The caller set the flag.
    #[error("the training was stopped")]
    Stopped,
}
