//! Recipes: what a role's Core ML model takes and gives, for one checkpoint and one size.
//!
//! Names and axes are the role's (`sd-spec`), and their numbers come from configurations and options; they are those of Apple's
//! converter (`ml-stable-diffusion`, models M1–M5 and M10), so that Apple's Swift package loads what comes out.
//! A recipe says nothing of how the network computes; `sd-models` does.

mod network;

pub(crate) use network::{Failure, lower};

use crate::{Beginning, Checkpoint, ConvertError, LatentSize, Options, Precision};
use host_tensor::DType;

use sd_models::{AddedConditionConfig, CORRECTED_SIDE, Facts, NetworkConfig, Resolution};
use sd_spec::{Axis, Dims, Feature, FeatureSpec, Kind, Presence, Role, RoleSpec, model::Unknown};

/// Element type that the network computes with.
pub(crate) const fn inner_dtype(feature: &FeatureSpec) -> DType {
    match feature.kind {
        Kind::Real | Kind::Single => DType::F32,
        Kind::Ids => DType::I32,
    }
}

/// Element type of an input at the border of the model.
pub(crate) const fn declared_dtype(feature: &FeatureSpec, precision: Precision) -> DType {
    match (feature.kind, precision) {
        (Kind::Real, Precision::Float16) => DType::F16,
        (Kind::Real, Precision::Float32) | (Kind::Single | Kind::Ids, _) => DType::F32,
    }
}

/// Everything that is decided about a role's model before it is built.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) role: Role,
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
        let mut dims = Dims::new().with(Axis::Batch, options.unet_batch.n());
        let mut warnings = Vec::new();
        if spec.is_sized() {
            dims = sized(dims, spec, ckpt, role, options)?;
            check_sides(role, &facts, &dims)?;
            let latent = dims.get(Axis::LatentHeight).zip(dims.get(Axis::LatentWidth));
            warnings =
                latent.map_or_else(Vec::new, |(h, w)| size_warnings(ckpt, role, &facts, ([h, w], options.beginning)));
        }
        if needs(spec, Axis::Tokens) && facts.dims.get(Axis::Tokens).is_none() {
            dims = dims.with(Axis::Tokens, asked_length(ckpt, options)?);
        }
        if needs(spec, Axis::JointTokens) {
            // CLIP's, whose length is fixed, then those of the third encoder.
            dims = dims.with(Axis::JointTokens, text_length(ckpt)? + asked_length(ckpt, options)?);
        }
        if let Some(added) = &facts.added {
            check_added(ckpt, role, added)?;
        }
        let mut model = facts.model_shape(&dims, role.n_size_numbers(), ckpt.family().spec().text_state);
        model.on_request = on_request(spec, options)?;
        let unknown = |unknown: Unknown| {
            ConvertError::Option(format!("{role}: nothing says the {} of {}", unknown.axis, unknown.feature))
        };
        let (inputs, outputs) = (spec.inputs_of(&model).map_err(unknown)?, spec.outputs_of(&model).map_err(unknown)?);
        Ok(Self { role, network, facts, inputs, outputs, warnings })
    }

    /// What is the same for every model of its role.
    pub(crate) const fn spec(&self) -> &'static RoleSpec {
        self.role.spec()
    }
}

/// The features that the model is asked to have, if models of the role can have them.
fn on_request(spec: &RoleSpec, options: &Options) -> Result<Vec<&'static str>, ConvertError> {
    let can_have = |name: &str| spec.features().any(|f| f.presence == Presence::OnRequest && f.is_named(name));
    match options.on_request.iter().find(|name| !can_have(name)) {
        Some(name) => Err(ConvertError::Option(format!("no {} has {name} on request", spec.role))),
        None => Ok(options.on_request.clone()),
    }
}

/// Refuses added conditions that are not those of XL, or not of the checkpoint's text encoder.
fn check_added(ckpt: &Checkpoint, role: Role, added: &AddedConditionConfig) -> Result<(), ConvertError> {
    let n = role.n_size_numbers();
    let path = ckpt.config_place(role);
    let AddedConditionConfig { time_channels, input_dim } = added;
    let Some(width) = added.pooled_width(n) else {
        let what = format!(
            "added conditions of {input_dim} numbers (projection_class_embeddings_input_dim), of which {n} sizes of \
             {time_channels} (addition_time_embed_dim) leave none for the text"
        );
        return Err(ConvertError::Unsupported { path, what });
    };
    let encoder = ckpt.has(Role::TextEncoder2).then(|| facts(ckpt, Role::TextEncoder2)).transpose()?;
    match encoder.and_then(|facts| facts.dims.get(Axis::ProjectedWidth)) {
        Some(own) if own != width => {
            let what = format!(
                "added conditions of {input_dim} numbers (projection_class_embeddings_input_dim), which are not the \
                 text_encoder_2's {own} and {n} sizes of {time_channels} (addition_time_embed_dim)"
            );
            Err(ConvertError::Unsupported { path, what })
        }
        _ => Ok(()),
    }
}

/// Refuses latents of sides that the denoiser cannot take.
fn check_sides(role: Role, facts: &Facts, dims: &Dims) -> Result<(), ConvertError> {
    let latent = dims.get(Axis::LatentHeight).zip(dims.get(Axis::LatentWidth));
    match (facts.sides, latent) {
        (Some(sides), Some((height, width))) if !sides.has(height) || !sides.has(width) => {
            let size = LatentSize { height, width };
            if role == Role::Upscaler {
                return Err(ConvertError::Option(format!(
                    "parts of {width}x{height} pixels do not fit the {role}: their sides are multiples of {}, {} at most",
                    sides.multiple, sides.max
                )));
            }
            Err(ConvertError::Option(format!(
                "latents of {size} do not fit the {role}: its sides are multiples of {} (patch_size), {} at most \
                 (pos_embed_max_size patches)",
                sides.multiple, sides.max
            )))
        }
        _ => Ok(()),
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
fn sized(dims: Dims, spec: &RoleSpec, ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Dims, ConvertError> {
    // A denoiser knows latents only; everything else is of the autoencoder's scale.
    let scale = match needs(spec, Axis::PictureHeight) {
        true => Some(picture_scale(ckpt, role)?),
        false => None,
    };
    let denoiser = ckpt.denoiser();
    // Networks that know their size in pixels.
    let of_picture = [Role::VaeDecoder, Role::Upscaler].into_iter().find(|&role| ckpt.has(role));
    let native = match (ckpt.has(denoiser), options.latent_size, scale.zip(of_picture)) {
        (_, Some(_), _) => None,
        (true, ..) => facts(ckpt, denoiser)?.native.map(latent),
        (false, _, Some((scale, role))) => facts(ckpt, role)?
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
fn size_warnings(
    ckpt: &Checkpoint,
    role: Role,
    facts: &Facts,
    ([height, width], beginning): ([usize; 2], Beginning),
) -> Vec<String> {
    /// Sides that differ by this factor are far: pictures repeat or lose their subject.
    const FAR: usize = 2;
    let mut warnings = Vec::new();
    if !role.is_denoiser() {
        return warnings;
    }
    if let Some(side) = facts.stated_side {
        warnings.push(format!(
            "{} says sample_size {side}, but versions of diffusers before 0.9.0 wrote it wrongly; latents of \
             {CORRECTED_SIDE}x{CORRECTED_SIDE} are what it was made for, as diffusers has it too",
            ckpt.config_place(role).display()
        ));
    }
    let Some(own) = facts.native else { return warnings };
    let is_far = |a: usize, b: usize| a >= FAR * b || b >= FAR * a;
    if beginning == Beginning::Noise && (is_far(height, own.height) || is_far(width, own.width)) {
        let scale = scale_of(ckpt).unwrap_or(8);
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
    let denoiser = ckpt.denoiser();
    let own = match ckpt.has(denoiser) {
        true => facts(ckpt, denoiser)?.native,
        false => None,
    };
    Ok((own.map(latent), scale_of(ckpt).unwrap_or(8)))
}

/// Picture pixels per latent pixel: what the role's network says, or else the autoencoder.
pub(crate) fn picture_scale(ckpt: &Checkpoint, role: Role) -> Result<usize, ConvertError> {
    let own = facts(ckpt, role)?.scale;
    let scale = own.map_or_else(|| facts(ckpt, Role::VaeDecoder).map(|vae| vae.scale), |scale| Ok(Some(scale)))?;
    Ok(scale.unwrap_or(1).max(1))
}

/// Picture pixels per latent pixel, if a network of the checkpoint says it.
fn scale_of(ckpt: &Checkpoint) -> Option<usize> {
    ckpt.roles().into_iter().find_map(|role| facts(ckpt, role).ok()?.scale)
}

/// Tokens that the denoiser attends to.
fn asked_length(ckpt: &Checkpoint, options: &Options) -> Result<usize, ConvertError> {
    const MAX_LENGTH: usize = 4096;
    match options.text_length {
        Some(n) if (1..=MAX_LENGTH).contains(&n) => Ok(n),
        Some(n) => Err(ConvertError::Option(format!("text length {n} is not in 1 to {MAX_LENGTH}"))),
        None => text_length(ckpt),
    }
}

/// Tokens that a checkpoint's denoiser attends to where nothing else is asked for: those of its text encoder, or 77.
///
/// # Errors
/// For a text encoder whose configuration cannot be read.
pub fn text_length(ckpt: &Checkpoint) -> Result<usize, ConvertError> {
    /// CLIP's length, for checkpoints without a text encoder.
    const CLIP_LENGTH: usize = 77;
    let encoder = [Role::TextEncoder, Role::TextEncoder2].into_iter().find(|&role| ckpt.has(role));
    let facts = encoder.map(|role| facts(ckpt, role)).transpose()?;
    Ok(facts.and_then(|facts| facts.dims.get(Axis::Tokens)).unwrap_or(CLIP_LENGTH))
}
