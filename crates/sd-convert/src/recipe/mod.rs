//! Recipes: for each component, what its Core ML model takes, gives and says of itself.
//!
//! Names, shapes and element types are those of Apple's converter (`ml-stable-diffusion`, models M1–M5 and
//! M10), so that Apple's Swift package loads what comes out.
//! A recipe says nothing of how the network computes; `sd-models` does.

mod network;

pub(crate) use network::{Failure, load_report, lower};

use crate::{Checkpoint, ConvertError, LatentSize, Options, Precision};
use host_tensor::DType;
use sd_models::{
    CORRECTED_SIDE, ClipTextConfig, ModelError, NetworkConfig, Role, SafetyCheckerConfig, UNetConfig, VaeConfig,
};

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
}

/// What a feature holds, which decides its element type at the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers: f16 or f32 as the precision says on the way in, f32 on the way out.
    Real,
    /// Token ids: integers to the network, declared as f32 because that is how Core ML pipelines pass them.
    Ids,
}

impl Feature {
    fn real(name: &'static str, shape: impl Into<Vec<usize>>, description: &'static str) -> Self {
        Self { name, description, kind: Kind::Real, shape: shape.into() }
    }

    /// Element type that the network computes with.
    pub(crate) const fn inner_dtype(&self) -> DType {
        match self.kind {
            Kind::Real => DType::F32,
            Kind::Ids => DType::I32,
        }
    }

    /// Element type at the border of the model.
    pub(crate) const fn declared_dtype(&self, precision: Precision) -> DType {
        match (self.kind, precision) {
            (Kind::Real, Precision::Float16) => DType::F16,
            (Kind::Real, Precision::Float32) | (Kind::Ids, _) => DType::F32,
        }
    }
}

/// Everything that is decided about a component's model before it is built.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) network: NetworkConfig,
    pub(crate) inputs: Vec<Feature>,
    /// Shapes are the network's business; only names and descriptions stand here.
    pub(crate) outputs: Vec<(&'static str, &'static str)>,
    pub(crate) summary: &'static str,
    /// What the user should know of how it was decided.
    pub(crate) warnings: Vec<String>,
}

/// What pictures and latents measure.
struct Sizes {
    latent: LatentSize,
    /// Picture pixels per latent pixel.
    scale: usize,
}

impl Recipe {
    /// Reads the component's configuration and decides on its model.
    pub(crate) fn new(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Self, ConvertError> {
        match role {
            Role::TextEncoder => text_encoder(ckpt),
            Role::UNet => unet(ckpt, options),
            Role::VaeDecoder => vae_decoder(ckpt, options),
            Role::VaeEncoder => vae_encoder(ckpt, options),
            Role::SafetyChecker => safety_checker(ckpt, options),
        }
    }
}

fn parse<T>(
    ckpt: &Checkpoint,
    role: Role,
    from_json: impl FnOnce(&[u8]) -> Result<T, ModelError>,
) -> Result<T, ConvertError> {
    let json = ckpt.config(role)?;
    from_json(&json).map_err(|source| ConvertError::Model { path: ckpt.folder(role).join("config.json"), source })
}

fn text_encoder(ckpt: &Checkpoint) -> Result<Recipe, ConvertError> {
    let config = parse(ckpt, Role::TextEncoder, ClipTextConfig::from_json)?;
    let input = Feature {
        name: "input_ids",
        description: "Token ids of the text, padded to full length",
        kind: Kind::Ids,
        shape: vec![1, config.max_positions],
    };
    Ok(Recipe {
        network: NetworkConfig::TextEncoder(config),
        inputs: vec![input],
        outputs: vec![
            ("last_hidden_state", "One embedding per token, after the final normalisation"),
            ("pooled_outputs", "The embedding at the end-of-text token"),
        ],
        summary: "Text encoder of Stable Diffusion: turns token ids into embeddings that condition the denoiser.",
        warnings: Vec::new(),
    })
}

fn unet(ckpt: &Checkpoint, options: &Options) -> Result<Recipe, ConvertError> {
    let config = parse(ckpt, Role::UNet, UNetConfig::from_json)?;
    if config.added.is_some() {
        return Err(ConvertError::Unsupported {
            path: ckpt.folder(Role::UNet).join("config.json"),
            what: "a UNet with added conditions, as Stable Diffusion XL has it, cannot be converted yet".to_owned(),
        });
    }
    let batch = if options.unet_batch_one { 1 } else { 2 };
    let latent = latent_size(options, config.sample_size.map(|s| (s.height, s.width)))?;
    let length = text_length(ckpt, options)?;
    let warnings = size_warnings(ckpt, &config, latent);
    let inputs = vec![
        Feature::real("sample", [batch, config.in_channels, latent.height, latent.width], "Latents to be denoised"),
        Feature::real("timestep", [batch], "Step of the noise schedule at which the latents stand"),
        Feature::real(
            "encoder_hidden_states",
            [batch, config.cross_attention_dim, 1, length],
            "Text embeddings, channels first: batch, channels, 1, tokens",
        ),
    ];
    Ok(Recipe {
        network: NetworkConfig::UNet(config),
        inputs,
        outputs: vec![("noise_pred", "Predicted noise, of the latents' shape")],
        summary: "Denoiser of Stable Diffusion: predicts the noise in latents under the condition of a text.",
        warnings,
    })
}

/// Corrected sizes, and sizes far from what the network was trained for.
fn size_warnings(ckpt: &Checkpoint, config: &UNetConfig, latent: LatentSize) -> Vec<String> {
    /// Sides that differ by this factor are far: pictures repeat or lose their subject.
    const FAR: usize = 2;
    let mut warnings = Vec::new();
    if let Some(side) = config.stated_side {
        warnings.push(format!(
            "{} says sample_size {side}, but versions of diffusers before 0.9.0 wrote it wrongly; latents of \
             {CORRECTED_SIDE}x{CORRECTED_SIDE} are what it was made for, as diffusers has it too",
            ckpt.folder(Role::UNet).join("config.json").display()
        ));
    }
    let Some(own) = config.sample_size else { return warnings };
    let is_far = |a: usize, b: usize| a >= FAR * b || b >= FAR * a;
    if is_far(latent.height, own.height) || is_far(latent.width, own.width) {
        let scale = vae_scale(ckpt).unwrap_or(8);
        warnings.push(format!(
            "latents of {latent} make pictures {} wide, {} high; the checkpoint was made for {} wide, {} high, and draws \
             badly so far from it",
            latent.width * scale,
            latent.height * scale,
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
        true => parse(ckpt, Role::UNet, UNetConfig::from_json)?.sample_size,
        false => None,
    };
    let own = own.map(|s| LatentSize { height: s.height, width: s.width });
    Ok((own, vae_scale(ckpt).unwrap_or(8)))
}

/// Picture pixels per latent pixel, if the checkpoint has an autoencoder.
fn vae_scale(ckpt: &Checkpoint) -> Option<usize> {
    let json = ckpt.config(Role::VaeDecoder).ok()?;
    VaeConfig::from_json(&json).ok().map(|config| config.scale())
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
            Ok(parse(ckpt, Role::TextEncoder, ClipTextConfig::from_json)?.max_positions)
        }
        None => Ok(CLIP_LENGTH),
    }
}

fn latent_size(options: &Options, default: Option<(usize, usize)>) -> Result<LatentSize, ConvertError> {
    match (options.latent_size, default) {
        (Some(size), _) => Ok(size),
        (None, Some((height, width))) => Ok(LatentSize { height, width }),
        (None, None) => {
            Err(ConvertError::Option("the checkpoint does not say its size; give --size WIDTHxHEIGHT in pixels".into()))
        }
    }
}

/// The autoencoder's configuration and the sizes that go with the UNet's latents.
fn vae(ckpt: &Checkpoint, options: &Options) -> Result<(VaeConfig, Sizes), ConvertError> {
    let config = parse(ckpt, Role::VaeDecoder, VaeConfig::from_json)?;
    let default = if ckpt.has(Role::UNet) {
        parse(ckpt, Role::UNet, UNetConfig::from_json)?.sample_size.map(|s| (s.height, s.width))
    } else {
        config.sample_size.map(|s| (s.height / config.scale(), s.width / config.scale()))
    };
    let sizes = Sizes { latent: latent_size(options, default)?, scale: config.scale() };
    Ok((config, sizes))
}

impl Sizes {
    fn picture(&self) -> [usize; 2] {
        [self.latent.height * self.scale, self.latent.width * self.scale]
    }
}

fn vae_decoder(ckpt: &Checkpoint, options: &Options) -> Result<Recipe, ConvertError> {
    let (config, sizes) = vae(ckpt, options)?;
    let shape = [1, config.latent_channels, sizes.latent.height, sizes.latent.width];
    Ok(Recipe {
        network: NetworkConfig::VaeDecoder(config),
        inputs: vec![Feature::real("z", shape, "Denoised latents, divided by the scaling factor")],
        outputs: vec![("image", "Picture, channels first, −1 to 1")],
        summary: "Decoder of Stable Diffusion's autoencoder: turns latents into a picture.",
        warnings: Vec::new(),
    })
}

fn vae_encoder(ckpt: &Checkpoint, options: &Options) -> Result<Recipe, ConvertError> {
    let (config, sizes) = vae(ckpt, options)?;
    let [height, width] = sizes.picture();
    let shape = [1, config.in_channels, height, width];
    Ok(Recipe {
        network: NetworkConfig::VaeEncoder(config),
        inputs: vec![Feature::real("x", shape, "Picture, channels first, −1 to 1")],
        outputs: vec![("latent", "Mean and log-variance of the latents, one after the other along the channels")],
        summary: "Encoder of Stable Diffusion's autoencoder: turns a picture into the distribution of its latents.",
        warnings: Vec::new(),
    })
}

fn safety_checker(ckpt: &Checkpoint, options: &Options) -> Result<Recipe, ConvertError> {
    let config = parse(ckpt, Role::SafetyChecker, SafetyCheckerConfig::from_json)?;
    let (_, sizes) = vae(ckpt, options)?;
    let [height, width] = sizes.picture();
    let side = config.vision.image_size;
    let inputs = vec![
        Feature::real(
            "clip_input",
            [1, config.vision.n_channels, side, side],
            "Picture as CLIP wants it: resized, cropped, normalised, channels first",
        ),
        Feature::real("images", [1, height, width, 3], "Picture as the decoder made it, channels last"),
        Feature::real("adjustment", [1], "Added to the scores of special concepts: above 0 flags more, below less"),
    ];
    Ok(Recipe {
        network: NetworkConfig::SafetyChecker(config),
        inputs,
        outputs: vec![
            ("filtered_images", "The picture, or black where a concept was found"),
            ("has_nsfw_concepts", "1 where a concept was found, else 0"),
            ("concept_scores", "Score of each concept; above 0 means found"),
        ],
        summary: "Safety checker of Stable Diffusion: blanks pictures in which it finds unsafe concepts.",
        warnings: Vec::new(),
    })
}
