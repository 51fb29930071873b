//! What can go wrong when weights are compressed.

/// Why a program or a weight cannot be compressed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The scheme does not fit the weight.
    #[error("{weight}: {reason}")]
    Scheme {
        /// Name of the weight.
        weight: String,
        /// What does not fit, and what would.
        reason: String,
    },
}
