//! Recipes: what a role's Core ML model takes and gives, for one checkpoint and one size.
//!
//! Names and axes are the role's (`sd-spec`), and their numbers come from configurations and options; they are those of Apple's
//! converter (`ml-stable-diffusion`, models M1–M5 and M10), so that Apple's Swift package loads what comes out.
//! A recipe says nothing of how the network computes; `sd-models` does.

mod network;

pub(crate) use network::{Failure, lower};

use crate::{Checkpoint, ConvertError, LatentSize, Options, Precision};
use host_tensor::DType;

use sd_models::{CORRECTED_SIDE, Facts, NetworkConfig, Resolution};
use sd_spec::{Axis, Dims, FeatureSpec, Kind, Role, RoleSpec};

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) spec: &'static FeatureSpec,
    pub(crate) shape: Vec<usize>,
}

impl Feature {
    /// Element type that the network computes with.
    pub(crate) const fn inner_dtype(&self) -> DType {
        match self.spec.kind {
            Kind::Real => DType::F32,
            Kind::Ids => DType::I32,
        }
    }

    /// Element type of an input at the border of the model.
    pub(crate) const fn declared_dtype(&self, precision: Precision) -> DType {
        match (self.spec.kind, precision) {
            (Kind::Real, Precision::Float16) => DType::F16,
            (Kind::Real, Precision::Float32) | (Kind::Ids, _) => DType::F32,
        }
    }
}

/// Everything that is decided about a role's model before it is built.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) network: NetworkConfig,
    pub(crate) facts: Facts,
    pub(crate) inputs: Vec<Feature>,
    pub(crate) outputs: Vec<Feature>,
    /// What the user should know of how it was decided.
    pub(crate) warnings: Vec<String>,
}

impl Recipe {
    /// Reads the role's configuration and decides on its model.
    pub(crate) fn new(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Self, ConvertError> {
        let (spec, network) = (role.spec(), ckpt.network(role)?);
        let facts = network.facts();
        if let Some(what) = facts.refusal {
            let path = ckpt.folder(role).join("config.json");
            return Err(ConvertError::Unsupported { path, what: what.to_owned() });
        }
        let mut dims = facts.dims.clone().with(Axis::Batch, if options.unet_batch_one { 1 } else { 2 });
        let mut warnings = Vec::new();
        if spec.is_sized() {
            dims = sized(dims, spec, ckpt, options)?;
            let latent = dims.get(Axis::LatentHeight).zip(dims.get(Axis::LatentWidth));
            warnings = latent.map_or_else(Vec::new, |(h, w)| size_warnings(ckpt, role, &facts, [h, w]));
        }
        if needs(spec, Axis::Tokens) && dims.get(Axis::Tokens).is_none() {
            dims = dims.with(Axis::Tokens, text_length(ckpt, options)?);
        }
        let shaped = |features: &'static [FeatureSpec]| -> Result<Vec<Feature>, ConvertError> {
            let shaped = |spec: &'static FeatureSpec| match dims.shape(spec) {
                Ok(shape) => Ok(Feature { spec, shape }),
                Err(axis) => Err(ConvertError::Option(format!("{role}: nothing says the {axis} of {}", spec.name))),
            };
            features.iter().map(shaped).collect()
        };
        let (inputs, outputs) = (shaped(spec.inputs)?, shaped(spec.outputs)?);
        Ok(Self { network, facts, inputs, outputs, warnings })
    }

    /// What is the same for every model of its role.
    pub(crate) const fn spec(&self) -> &'static RoleSpec {
        self.network.role().spec()
    }
}

/// What a role's configuration says.
pub(crate) fn facts(ckpt: &Checkpoint, role: Role) -> Result<Facts, ConvertError> {
    Ok(ckpt.network(role)?.facts())
}

fn needs(spec: &RoleSpec, axis: Axis) -> bool {
    spec.features().any(|feature| feature.axes.contains(&axis))
}

/// The numbers of all axes that follow from the size.
fn sized(dims: Dims, spec: &RoleSpec, ckpt: &Checkpoint, options: &Options) -> Result<Dims, ConvertError> {
    // A denoiser knows latents only; everything else is of the autoencoder's scale.
    let scale = match needs(spec, Axis::PictureHeight) {
        true => Some(picture_scale(ckpt)?),
        false => None,
    };
    let native = match (ckpt.has(Role::UNet), options.latent_size, scale) {
        (_, Some(_), _) => None,
        (true, ..) => facts(ckpt, Role::UNet)?.native.map(latent),
        (false, _, Some(scale)) => facts(ckpt, Role::VaeDecoder)?
            .native
            .map(|picture| LatentSize { height: picture.height / scale, width: picture.width / scale }),
        (false, ..) => None,
    };
    let LatentSize { height, width } = options.latent_size.or(native).ok_or_else(|| {
        ConvertError::Option("the checkpoint does not say its size; give --size WIDTHxHEIGHT in pixels".into())
    })?;
    let dims = dims.with(Axis::LatentHeight, height).with(Axis::LatentWidth, width);
    Ok(match scale {
        Some(scale) => dims.with(Axis::PictureHeight, height * scale).with(Axis::PictureWidth, width * scale),
        None => dims,
    })
}

const fn latent(size: Resolution) -> LatentSize {
    LatentSize { height: size.height, width: size.width }
}

/// Corrected sizes, and sizes far from what the network was trained for.
fn size_warnings(ckpt: &Checkpoint, role: Role, facts: &Facts, [height, width]: [usize; 2]) -> Vec<String> {
    /// Sides that differ by this factor are far: pictures repeat or lose their subject.
    const FAR: usize = 2;
    let mut warnings = Vec::new();
    if role != Role::UNet {
        return warnings;
    }
    if let Some(side) = facts.stated_side {
        warnings.push(format!(
            "{} says sample_size {side}, but versions of diffusers before 0.9.0 wrote it wrongly; latents of \
             {CORRECTED_SIDE}x{CORRECTED_SIDE} are what it was made for, as diffusers has it too",
            ckpt.folder(role).join("config.json").display()
        ));
    }
    let Some(own) = facts.native else { return warnings };
    let is_far = |a: usize, b: usize| a >= FAR * b || b >= FAR * a;
    if is_far(height, own.height) || is_far(width, own.width) {
        let scale = vae_scale(ckpt).unwrap_or(8);
        warnings.push(format!(
            "latents of {} make pictures {} wide, {} high; the checkpoint was made for {} wide, {} high, and draws \
             badly so far from it",
            LatentSize { height, width },
            width * scale,
            height * scale,
            own.width * scale,
            own.height * scale
        ));
    }
    warnings
}

/// The size of the latents that a checkpoint was made for, and the picture pixels per latent pixel: 8 where the checkpoint has
/// no autoencoder to tell.
///
/// # Errors
/// For configurations that cannot be read.
pub fn native_size(ckpt: &Checkpoint) -> Result<(Option<LatentSize>, usize), ConvertError> {
    let own = match ckpt.has(Role::UNet) {
        true => facts(ckpt, Role::UNet)?.native,
        false => None,
    };
    Ok((own.map(latent), vae_scale(ckpt).unwrap_or(8)))
}

/// Picture pixels per latent pixel.
pub(crate) fn picture_scale(ckpt: &Checkpoint) -> Result<usize, ConvertError> {
    Ok(facts(ckpt, Role::VaeDecoder)?.scale.unwrap_or(1).max(1))
}

/// Picture pixels per latent pixel, if the checkpoint has an autoencoder.
fn vae_scale(ckpt: &Checkpoint) -> Option<usize> {
    picture_scale(ckpt).ok()
}

/// Tokens that the UNet attends to.
fn text_length(ckpt: &Checkpoint, options: &Options) -> Result<usize, ConvertError> {
    /// CLIP's length, for checkpoints without a text encoder.
    const CLIP_LENGTH: usize = 77;
    const MAX_LENGTH: usize = 4096;
    match options.text_length {
        Some(n) if (1..=MAX_LENGTH).contains(&n) => Ok(n),
        Some(n) => Err(ConvertError::Option(format!("text length {n} is not in 1 to {MAX_LENGTH}"))),
        None if ckpt.has(Role::TextEncoder) => {
            Ok(facts(ckpt, Role::TextEncoder)?.dims.get(Axis::Tokens).unwrap_or(CLIP_LENGTH))
        }
        None => Ok(CLIP_LENGTH),
    }
}
