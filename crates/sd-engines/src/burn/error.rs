//! Why a network cannot be made ready, or run.
//!
//! Apart from the MIL engine's errors, because either engine may be left out of a build.

/// What went wrong with a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BurnError {
    /// The checkpoint's tensors are not the network's.
    #[error(transparent)]
    Model(#[from] sd_models::ModelError),
    /// A device was asked for that the build does not have.
    #[error("device {device} is not in this build; build with `--features burn-{device}`")]
    DeviceNotBuilt {
        /// Its name.
        device: &'static str,
    },
    /// A device was asked for that the machine does not have.
    #[error("this machine has no device that the {device} backend can use; flex runs on the CPU")]
    NoDevice {
        /// The backend's name.
        device: &'static str,
    },
    /// The threads could not be started.
    #[error("cannot start threads: {reason}")]
    Threads {
        /// What the system says.
        reason: String,
    },
    /// The caller set the flag.
    #[error("the run was stopped")]
    Stopped,
    /// A feature is needed that nobody gives.
    #[error("input {name} is missing")]
    MissingFeature {
        /// Its name.
        name: String,
    },
    /// A feature is given that the network does not take.
    #[error("there is no input {name}; the inputs are {}", .expected.join(", "))]
    UnexpectedFeature {
        /// Its name.
        name: String,
        /// The network's own.
        expected: Vec<String>,
    },
    /// A feature has another shape than declared.
    #[error("input {name} has shape {found:?}, expected {expected:?}")]
    FeatureShape {
        /// Its name.
        name: String,
        /// As declared.
        expected: Vec<usize>,
        /// As given.
        found: Vec<usize>,
    },
    /// A feature has another number of dimensions than the network takes.
    #[error("input {name} has shape {found:?}, expected {rank} dimensions")]
    FeatureRank {
        /// Its name.
        name: String,
        /// What the network takes.
        rank: usize,
        /// What is there.
        found: Vec<usize>,
    },
    /// A token id is not in the vocabulary.
    #[error("input {name} holds the id {id}, which is not in 0 to {}", .limit - 1)]
    TokenId {
        /// The feature.
        name: String,
        /// The id.
        id: i64,
        /// Tokens in the vocabulary.
        limit: usize,
    },
    /// The device failed while computing.
    #[error("output {name}: the device failed: {reason}")]
    Device {
        /// The result that was waited for.
        name: String,
        /// What Burn says.
        reason: String,
    },
}
