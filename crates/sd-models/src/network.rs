//! Networks as everybody else sees them: built from a configuration, run on features by name.
//!
//! A network is one `impl` of [`Network`] beside its module, and one name in the list of [`NetworkConfig`](crate::NetworkConfig).

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use sd_spec::{Axis, Dims, ModelShape, Role, TextState};

use crate::config::{AddedConditionConfig, Configuration, Residual, Resolution};
use crate::weights::{CheckpointTensor, LoadReport, Naming, parameters};

/// Where a network takes its inputs from, and what it gives its outputs to.
///
/// Names and axes are those of the role's [`RoleSpec`](sd_spec::RoleSpec); whoever implements this decides whether tensors
/// are recorded or computed.
pub trait Features {
    /// What may go wrong with a feature.
    type Error;

    /// Whether the model has an input or output of that name; those that every model of the role has need no asking.
    fn has(&self, name: &str) -> bool;

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

    /// Inputs of real numbers whose names end with numbers from 0, as many as there are.
    ///
    /// # Errors
    /// As [`Features::real`].
    fn numbered<const D: usize>(&mut self, name: &str) -> Result<Vec<Tensor<D>>, Self::Error> {
        let mut tensors = Vec::new();
        loop {
            let name = format!("{name}{}", tensors.len());
            match self.has(&name) {
                true => tensors.push(self.real(&name)?),
                false => return Ok(tensors),
            }
        }
    }

    /// The next output, in the order of the role.
    ///
    /// # Errors
    /// When the tensor cannot be taken.
    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), Self::Error>;
}

/// A network that plays roles.
pub trait Network: Module + Sync + 'static {
    /// Its configuration.
    type Config: Configuration;

    /// The roles that it can play; messages about its configuration and weights name the first.
    const ROLES: &'static [Role];
    /// Classes of diffusers or transformers that it is; its roles list them too.
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
        LoadReport::new(Self::ROLES[0], Self::NAMING, &parameters(self), tensors)
    }
}

/// What a configuration says to those who do not build the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Numbers of the axes that follow from it.
    pub dims: Dims,
    /// The size that the checkpoint was made for: of the latents for a denoiser, of the picture for an autoencoder; for an
    /// upscaler the size of the parts that pictures are usually upscaled in.
    pub native: Option<Resolution>,
    /// Which sides of the latents it can take, or of the picture for an upscaler, where not all.
    pub sides: Option<Sides>,
    /// The side that the file states instead, where it is known to be wrong.
    pub stated_side: Option<usize>,
    /// Picture pixels per latent pixel, for an autoencoder.
    pub scale: Option<usize>,
    /// Picture pixels along a side for each of the picture that goes in, for an upscaler.
    pub upscaling: Option<usize>,
    /// What latents are multiplied with before the denoiser sees them, for an autoencoder.
    pub scaling_factor: Option<f64>,
    /// What is subtracted from latents before that multiplication, for an autoencoder.
    pub shift_factor: Option<f64>,
    /// Whether its numbers are known to leave half precision in pipelines of XL, for an autoencoder.
    pub leaves_half: bool,
    /// Whether scores of attention and their softmax are in f32 whatever else is computed in.
    pub upcasts_attention: bool,
    /// Descriptions of features that say more of them than the role's, by name.
    pub words: &'static [(&'static str, &'static str)],
    /// What the added conditions of XL are made of, for a denoiser that has them.
    pub added: Option<AddedConditionConfig>,
    /// The states that a denoiser hands over from its way down, that of the middle last.
    pub residuals: Vec<Residual>,
}

/// Sides of latents that a denoiser can take, or of a picture that an upscaler can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// They are multiples of this.
    pub multiple: usize,
    /// And no longer than this.
    pub max: usize,
}

impl Sides {
    /// Whether a side is one of them.
    #[must_use]
    pub const fn has(self, side: usize) -> bool {
        side > 0 && side.is_multiple_of(self.multiple) && side <= self.max
    }
}

impl Facts {
    /// The shape of a model: `dims` are the numbers that do not follow from the network, latents' sides among them.
    ///
    /// A denoiser with added conditions takes `n_size_numbers` of them.
    #[must_use]
    pub fn model_shape(&self, dims: &Dims, n_size_numbers: usize, text_state: TextState) -> ModelShape {
        let dims = dims.clone().with_all(&self.dims);
        let mut model = ModelShape { dims, text_state, residuals: Vec::new(), on_request: Vec::new() };
        let pooled = self.added.as_ref().and_then(|added| added.pooled_width(n_size_numbers));
        if let Some(width) = pooled {
            model.dims = model.dims.with(Axis::SizeNumbers, n_size_numbers).with(Axis::ProjectedWidth, width);
        }
        let picture = model.dims.get(Axis::PictureHeight).zip(model.dims.get(Axis::PictureWidth));
        if let Some((factor, (height, width))) = self.upscaling.zip(picture) {
            let side = |side: usize| side.saturating_mul(factor);
            model.dims = model.dims.with(Axis::UpscaledHeight, side(height)).with(Axis::UpscaledWidth, side(width));
        }
        let sides = model.dims.get(Axis::LatentHeight).zip(model.dims.get(Axis::LatentWidth));
        if let Some((height, width)) = sides {
            model.residuals = self.residuals.iter().map(|r| [r.channels, r.side(height), r.side(width)]).collect();
        }
        model
    }
}

/// Work on a network of whatever type.
pub trait WithNetwork {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<N: Network>(self, config: &N::Config) -> Self::Output;
}
