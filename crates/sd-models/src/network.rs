//! Networks as everybody else sees them: built from a configuration, run on features by name.
//!
//! A network is one `impl` of [`Network`] beside its module, and one name in the list of [`NetworkConfig`](crate::NetworkConfig).

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use sd_spec::{Dims, Role};

use crate::config::{Configuration, Resolution};
use crate::weights::{CheckpointTensor, LoadReport, Naming, parameters};

/// Where a network takes its inputs from, and what it gives its outputs to.
///
/// Names and axes are those of the role's [`RoleSpec`](sd_spec::RoleSpec); whoever implements this decides whether tensors
/// are recorded or computed.
pub trait Features {
    /// What may go wrong with a feature.
    type Error;

    /// An input of real numbers.
    ///
    /// # Errors
    /// When there is none of that name and rank.
    fn real<const D: usize>(&mut self, name: &str) -> Result<Tensor<D>, Self::Error>;

    /// An input of whole numbers from 0 to `limit`, exclusive.
    ///
    /// # Errors
    /// When there is none of that name and rank, or values are known and one is not below the limit.
    fn ids<const D: usize>(&mut self, name: &str, limit: usize) -> Result<Tensor<D, Int>, Self::Error>;

    /// The next output, in the order of the role.
    ///
    /// # Errors
    /// When the tensor cannot be taken.
    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), Self::Error>;
}

/// A network that plays a role.
pub trait Network: Module + Sync + 'static {
    /// Its configuration.
    type Config: Configuration;

    /// The role that it plays.
    const ROLE: Role;
    /// Classes of diffusers or transformers that it is; the role lists them too.
    const CLASSES: &'static [&'static str];
    /// The names of its tensors in checkpoints, where they are not all paths of its parameters.
    const NAMING: Naming = Naming::PATHS;

    /// What its configuration says to those who do not build it.
    fn facts(config: &Self::Config) -> Facts;

    /// Builds it; its weights are initialised when they are first used.
    fn init(config: &Self::Config, device: &Device) -> Self;

    /// Runs it: takes the role's inputs, gives the role's outputs.
    ///
    /// # Errors
    /// Those of the features.
    fn call<F: Features>(&self, features: &mut F) -> Result<(), F::Error>;

    /// Compares its parameters with a checkpoint's table of contents.
    fn load_report(&self, tensors: impl IntoIterator<Item = CheckpointTensor>) -> LoadReport {
        LoadReport::new(Self::ROLE, Self::NAMING, &parameters(self), tensors)
    }
}

/// What a configuration says to those who do not build the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Numbers of the axes that follow from it.
    pub dims: Dims,
    /// The size that the checkpoint was made for: of the latents for a denoiser, of the picture for an autoencoder.
    pub native: Option<Resolution>,
    /// The side that the file states instead, where it is known to be wrong.
    pub stated_side: Option<usize>,
    /// Picture pixels per latent pixel, for an autoencoder.
    pub scale: Option<usize>,
    /// What latents are multiplied with before the denoiser sees them, for an autoencoder.
    pub scaling_factor: Option<f64>,
    /// Whether scores of attention and their softmax are in f32 whatever else is computed in.
    pub upcasts_attention: bool,
    /// Descriptions of features that say more of them than the role's, by name.
    pub words: &'static [(&'static str, &'static str)],
    /// What it is, if it can be built but not converted yet.
    pub refusal: Option<&'static str>,
}

/// Work on a network of whatever type.
pub trait WithNetwork {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<N: Network>(self, config: &N::Config) -> Self::Output;
}
