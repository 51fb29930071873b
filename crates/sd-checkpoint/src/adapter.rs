//! What changes the weights of a checkpoint on their way to whoever reads them.

use std::fmt::Debug;

use sd_spec::Role;

use crate::{CheckpointError, Weights};

/// A change of a checkpoint's weights, such as what a LoRA adds to them.
///
/// It puts weights in the place of others, computed by rows ([`Weight::sum`](crate::Weight::sum),
/// [`Weight::joined`](crate::Weight::joined)) rather than made at once, so that memory does not grow with the checkpoint.
pub trait Adapter: Debug + Send + Sync {
    /// Changes the weights of a role's network.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] when it does not fit them.
    fn adapt(&self, role: Role, weights: &mut Weights) -> Result<(), CheckpointError>;
}
