//! The autoencoder of another checkpoint, in the place of a checkpoint's own or by itself.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sd_models::NetworkConfig;
use sd_spec::{Axis, Family, Role};
use serde_json::{Map, Value};

use super::Checkpoint;
use super::index::Index;
use super::open::{class_alone, name, read_object, single};
use crate::beside::{Beside, Made};
use crate::hub::Cache;
use crate::ldm::single::SingleFile;
use crate::place::{Place, Wanted};
use crate::{CheckpointError, Reading, Source, Variant, Weights, hub, scaled};

/// The folder of an autoencoder in a checkpoint.
const FOLDER: &str = "vae";
const CONFIG: &str = "vae/config.json";

/// An autoencoder that was given.
#[derive(Debug, Clone)]
pub(super) struct Vae {
    /// Its folder, or its file.
    place: PathBuf,
    /// What people call it: the name of the checkpoint, folder or file.
    name: String,
    stored: Stored,
}

#[derive(Debug, Clone)]
enum Stored {
    Folder { variant: Option<String> },
    File(Arc<SingleFile>),
}

/// What an autoencoder is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// To take the place of both halves.
    Both,
    /// To decode.
    Decoding,
}

impl For {
    /// What would do.
    const fn next(self) -> &'static str {
        match self {
            Self::Both => "--vae takes a checkpoint, or a VAE alone: a folder with its config.json, or one file",
            Self::Decoding => {
                "--taesd takes a TAESD: a folder with its config.json, one file, or its author's taesd_decoder"
            }
        }
    }
}

impl Vae {
    /// Finds the autoencoder of a checkpoint, or one alone, in a folder or in a file.
    fn open(source: &Source, variant: Option<String>, wanted: For) -> Result<Self, CheckpointError> {
        let refuse = |path: PathBuf, what: String| {
            let next = wanted.next().to_owned();
            CheckpointError::Place { path, what, next }
        };
        let given = Cache::standard().locate(source)?;
        let root = hub::resolve(&given)?;
        let name = match root.is_dir() {
            true => name(&given, &root),
            false => root.file_stem().map_or_else(|| "vae".to_owned(), |stem| stem.to_string_lossy().into_owned()),
        };
        if !root.is_dir() {
            let place = Place::of(&root, Wanted::Checkpoint);
            let file = if root.is_file() { single(&root, &Reading::default())? } else { None };
            let halves =
                [Role::VaeDecoder, Role::VaeEncoder].map(|half| file.as_ref().is_some_and(|file| file.has(half)));
            return match (file, halves) {
                (Some(file), [true, has_encoder]) if has_encoder || wanted == For::Decoding => {
                    Ok(Self { place: root, name, stored: Stored::File(Arc::new(file)) })
                }
                (Some(_), [true, _]) => Err(refuse(
                    root,
                    "the decoder of a TAESD without its encoder, which --taesd takes when pictures are drawn"
                        .to_owned(),
                )),
                (Some(_), [_, true]) => Err(refuse(root, "the encoder of a TAESD without its decoder".to_owned())),
                _ => Err(refuse(root.clone(), place.what)),
            };
        }
        let is_vae = class_alone(&root).is_some_and(|class| Role::VaeDecoder.spec().classes.contains(&&*class));
        let place = if is_vae { root.clone() } else { root.join(FOLDER) };
        if !place.join("config.json").is_file() {
            return Err(refuse(root.clone(), Place::of(&root, Wanted::Checkpoint).what + ", without a VAE"));
        }
        Ok(Self { place, name, stored: Stored::Folder { variant } })
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn weights(&self, role: Role, config: &NetworkConfig) -> Result<Weights, CheckpointError> {
        match &self.stored {
            Stored::Folder { variant } => scaled::open(&self.place, variant.as_deref()),
            Stored::File(file) => file.network(role, config),
        }
    }

    /// The files of its weights; none where it is not clear which are meant.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match &self.stored {
            Stored::Folder { variant } => {
                Variant::choose(&self.place, variant.as_deref()).map_or_else(|_| Vec::new(), |(_, files)| files)
            }
            Stored::File(_) => vec![self.place.clone()],
        }
    }

    pub(super) fn variant(&self) -> Result<Variant, CheckpointError> {
        match &self.stored {
            Stored::Folder { variant } => Variant::choose(&self.place, variant.as_deref()).map(|(chosen, _)| chosen),
            Stored::File(_) => Ok(Variant::Plain),
        }
    }

    /// What its file calls a tensor.
    pub(super) fn key_of(&self, role: Role, config: &NetworkConfig, key: &str) -> Option<String> {
        match &self.stored {
            Stored::Folder { .. } => None,
            Stored::File(file) => file.key_of(role, config, key),
        }
    }

    /// The same small files with its configuration before them.
    fn over(&self, beside: Beside) -> Result<Beside, CheckpointError> {
        let Stored::File(file) = &self.stored else { return Ok(beside.over_component(FOLDER, &self.place)) };
        let Some(Made::Json(mut config)) = file.made().remove(CONFIG) else { return Ok(beside) };
        // Shapes do not say how latents are scaled, nor how many groups norms have; those of what is replaced are kept, and are
        // right for a VAE of its kind.
        // TAESD is trained on latents as the denoiser sees them.
        let is_alike = config["_class_name"] == "AutoencoderKL";
        let own: Map<String, Value> = read_object(&beside, CONFIG)?.filter(|_| is_alike).unwrap_or_default();
        for key in ["scaling_factor", "shift_factor", "force_upcast", "norm_num_groups"] {
            if let Some(value) = own.get(key) {
                config[key] = value.clone();
            }
        }
        Ok(beside.over_made([(CONFIG.to_owned(), Made::Json(config))].into_iter().collect(), &self.place))
    }
}

impl Checkpoint {
    /// The same with the autoencoder of another checkpoint, or one alone, in the place of its own: configuration and
    /// weights, of the decoder and of the encoder.
    ///
    /// # Errors
    /// [`CheckpointError::Place`] for what holds none; [`CheckpointError::Unsupported`] for one whose latents have other
    /// channels than the denoiser's, and where the checkpoint is one network alone.
    pub fn with_vae(mut self, source: &Source) -> Result<Self, CheckpointError> {
        let vae = Vae::open(source, self.variant.clone(), For::Both)?;
        let unsupported = |what: String| CheckpointError::Unsupported { path: vae.place.clone(), what };
        if self.alone.is_some() {
            return Err(unsupported("a VAE has no effect on one network alone; leave out --vae".to_owned()));
        }
        self.beside = vae.over(self.beside)?;
        self.vae = Some(Arc::new(vae.clone()));
        let own = self.network(Role::VaeDecoder)?.facts().dims.get(Axis::LatentChannels);
        let denoiser = self.denoiser();
        let wanted = if self.has(denoiser) { latent_channels(&self.network(denoiser)?) } else { None };
        match own.zip(wanted).filter(|(own, wanted)| own != wanted) {
            Some((own, wanted)) => Err(unsupported(format!(
                "this VAE's latents have {own} channels, and those of the {denoiser} {wanted}: it is for another family"
            ))),
            None => Ok(self),
        }
    }

    /// The decoder of an autoencoder, of another checkpoint or alone, as a checkpoint that has nothing else; TAESD's may come
    /// without its encoder.
    ///
    /// # Errors
    /// [`CheckpointError::Place`] for what holds none.
    pub fn of_decoder(source: &Source, variant: Option<String>) -> Result<Self, CheckpointError> {
        let vae = Vae::open(source, variant.clone(), For::Decoding)?;
        let beside = match &vae.stored {
            Stored::Folder { .. } => Beside::folder(&vae.place).over_component(FOLDER, &vae.place),
            Stored::File(file) => Beside::made(file.made(), &vae.place),
        };
        Ok(Self {
            root: vae.place.clone(),
            name: vae.name.clone(),
            beside,
            stored: super::Stored::Folder,
            index: Index::default(),
            family: Family::Sd,
            alone: None,
            variant,
            vae: Some(Arc::new(vae)),
            adapters: Vec::new(),
            named_by: None,
            words: Vec::new(),
        })
    }

    /// The name of the autoencoder that was given for its own, if one was.
    #[must_use]
    pub fn vae_name(&self) -> Option<&str> {
        self.vae.as_deref().map(Vae::name)
    }

    /// The autoencoder that was given, for roles that it plays.
    pub(super) fn given_vae(&self, role: Role) -> Option<&Vae> {
        self.vae.as_deref().filter(|_| role.spec().folder == FOLDER)
    }

    pub(super) fn vae_weights(&self, role: Role) -> Result<Weights, CheckpointError> {
        let config = self.network(role)?;
        self.given_vae(role).map_or_else(|| Ok(Weights::default()), |vae| vae.weights(role, &config))
    }

    pub(super) fn vae_key(&self, role: Role, key: &str) -> Result<Option<String>, CheckpointError> {
        let config = self.network(role)?;
        Ok(self.given_vae(role).and_then(|vae| vae.key_of(role, &config, key)))
    }
}

/// Channels of the latents that a denoiser gives.
const fn latent_channels(denoiser: &NetworkConfig) -> Option<usize> {
    match denoiser {
        NetworkConfig::UNet(config) => Some(config.out_channels),
        NetworkConfig::Mmdit(config) => Some(config.out_channels),
        _ => None,
    }
}
