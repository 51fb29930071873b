//! What can be wrong with a checkpoint's configuration or tensors.

use sd_spec::Role;

use crate::weights::LoadReport;

/// Why a network cannot be built from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration is larger than any real one.
    #[error("{role} config is {bytes} bytes, more than the {limit} that a config may have")]
    ConfigTooLarge {
        /// Whose configuration.
        role: Role,
        /// Its size.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// The configuration is not JSON.
    #[error("{role} config is not valid JSON: {source}")]
    ConfigSyntax {
        /// Whose configuration.
        role: Role,
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },
    /// A key without a usable default is absent.
    #[error("{role} config has no {key:?}")]
    MissingKey {
        /// Whose configuration.
        role: Role,
        /// The absent key, with the keys of the objects around it.
        key: String,
    },
    /// A value has the wrong type or lies outside what makes sense.
    #[error("{role} config: {key:?} is {value}, expected {expected}")]
    InvalidValue {
        /// Whose configuration.
        role: Role,
        /// The key, with the keys of the objects around it.
        key: String,
        /// The value found, shortened.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// The configuration asks for a variant of the network that is not implemented.
    #[error("{role} config: {key:?} = {value} is not supported; supported: {supported}")]
    Unsupported {
        /// Whose configuration.
        role: Role,
        /// The key, with the keys of the objects around it.
        key: String,
        /// The value found, shortened.
        value: String,
        /// The values that are implemented.
        supported: String,
    },
    /// No network is written for the role.
    #[error("there is no network for the {role} here")]
    NoNetwork {
        /// The role.
        role: Role,
    },
    /// The checkpoint's tensors are not the network's parameters.
    #[error("{0}")]
    Load(Box<LoadReport>),
}

impl From<Box<LoadReport>> for ModelError {
    fn from(report: Box<LoadReport>) -> Self {
        Self::Load(report)
    }
}
