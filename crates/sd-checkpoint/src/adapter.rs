//! What changes the weights of a checkpoint on their way to whoever reads them.

use std::fmt::{self, Debug};
use std::path::Path;

use sd_spec::Role;
use serde::{Deserialize, Serialize};

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

    /// What it is called and how strongly it was applied, where it is a file that people name.
    fn applied(&self) -> Option<Applied> {
        None
    }

    /// That file.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// What the user should know.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An adapter that a checkpoint was opened with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Its file's name without the ending.
    pub name: String,
    /// Factor of what it adds to the denoiser.
    pub weight: f32,
    /// Factor of what it adds to text encoders.
    pub text_weight: f32,
}

impl fmt::Display for Applied {
    /// `name:weight`, and `:text-weight` where that is another one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.weight)?;
        if self.text_weight == self.weight { Ok(()) } else { write!(f, ":{}", self.text_weight) }
    }
}
