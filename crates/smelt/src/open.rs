//! A model, wherever it comes from: a folder of packages, or a checkpoint.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Checkpoint, Reading, hub};
use sd_convert::{LatentSize, native_size};
use sd_runtime::pipeline::Takes;
use sd_spec::Role;

use crate::embeddings::Embeddings;
use crate::error::{Result, refusal, refuse};
use crate::fit;
use crate::loras::Loras;
use crate::model_dir::{self, ModelDir};
pub use sd_checkpoint::{Averages, Prediction, Source};

/// Opens a folder of packages, or of a checkpoint in diffusers layout, or one file that holds a model; a repository in the
/// cache of huggingface_hub stands for its snapshot, and a reference to the Hub (`hf:owner/name`) for what
/// [`Opening::fetch`] put there.
///
/// # Errors
/// For everything else, which is named for what it is, with the next step: components of their own, other models, names of
/// models that are not on this machine.
pub fn open<S: TryInto<Source, Error: Display>>(source: S) -> Result<Opened> {
    Opening::default().open(source)
}

/// The same where a checkpoint is wanted, and packages are refused.
///
/// # Errors
/// As [`open`], and for a folder of packages.
pub fn open_checkpoint<S: TryInto<Source, Error: Display>>(source: S) -> Result<Opened> {
    Opening::default().open_checkpoint(source)
}

/// What a model is opened with: how its checkpoint is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opening {
    /// Variant of the weights (`fp16`, `non_ema`), where a component has it; default: the plain ones, or the only ones.
    pub variant: Option<String>,
    /// What a reference to the Hub needs must be in the cache: [`Opening::fetch`] fetches nothing.
    pub offline: bool,
    /// A folder in diffusers layout, with or without weights, or of one network, here or on the Hub: its configurations,
    /// scheduler and tokenizers stand before the checkpoint's own.
    pub config: Option<Source>,
    /// What the denoiser predicts, whatever the checkpoint says.
    pub prediction: Option<Prediction>,
    /// Which weights of a single file are taken, where training kept an average of them too.
    pub averages: Averages,
    /// Another checkpoint, or a VAE alone, whose autoencoder takes the place of its own.
    pub vae: Option<Source>,
    /// New words that join its text encoders and tokenizers.
    pub embeddings: Embeddings,
    /// LoRAs that are added to its weights.
    pub loras: Loras,
}

impl Opening {
    /// Opens a folder of packages, which none of these options is for, or a checkpoint.
    ///
    /// # Errors
    /// As [`open`], and for options without effect.
    pub fn open<S: TryInto<Source, Error: Display>>(&self, source: S) -> Result<Opened> {
        self.open_for(source, Wanted::Model)
    }

    /// Opens a checkpoint.
    ///
    /// # Errors
    /// As [`open_checkpoint`].
    pub fn open_checkpoint<S: TryInto<Source, Error: Display>>(&self, source: S) -> Result<Opened> {
        self.open_for(source, Wanted::Checkpoint)
    }

    fn open_for<S: TryInto<Source, Error: Display>>(&self, source: S, wanted: Wanted) -> Result<Opened> {
        let source: Source = source.try_into().map_err(|error| refusal!("{error}"))?;
        let opened = |model| Opened { source: source.clone(), opening: self.clone(), model };
        if wanted == Wanted::Model
            && let Some(dir) = self.packages(&source)?
        {
            self.refuse_for_packages(&dir)?;
            return Ok(opened(Model::Packages(dir)));
        }
        Ok(opened(Model::Checkpoint(Box::new(self.checkpoint(&source, wanted)?))))
    }

    /// The folder, where a source is one of packages.
    pub(crate) fn packages(&self, source: &Source) -> Result<Option<PathBuf>> {
        let dir = hub::resolve(&self.locate(source)?)?;
        model_dir::folder(&dir)
    }

    /// A checkpoint with all that these options make of it.
    pub(crate) fn checkpoint(&self, source: &Source, wanted: Wanted) -> Result<Checkpoint> {
        let reading = Reading { config: self.config.clone(), prediction: self.prediction, averages: self.averages };
        let checkpoint = Checkpoint::open_with(source.clone(), wanted, &reading)?.with_variant(self.variant.clone());
        let checkpoint = match &self.vae {
            Some(vae) => checkpoint.with_vae(vae)?,
            None => checkpoint,
        };
        self.loras.apply(self.embeddings.apply(checkpoint)?)
    }

    /// What is opened beside the checkpoint itself: its own weights, unchanged.
    pub(crate) fn beside(&self) -> Self {
        Self { variant: self.variant.clone(), offline: self.offline, ..Self::default() }
    }

    /// The options that are given, as they are typed.
    #[must_use]
    pub fn typed(&self) -> Vec<String> {
        let variant = self.variant.iter().flat_map(|name| ["--variant".to_owned(), name.clone()]);
        let config = self.config.iter().flat_map(|dir| ["--config".to_owned(), dir.to_string()]);
        let prediction = self.prediction.iter().flat_map(|p| ["--prediction".to_owned(), p.to_string()]);
        let averages = (self.averages == Averages::Taken).then(|| "--ema".to_owned());
        let vae = self.vae.iter().flat_map(|vae| ["--vae".to_owned(), vae.to_string()]);
        let more = averages.into_iter().chain(vae).chain(self.embeddings.typed()).chain(self.loras.typed());
        variant.chain(config).chain(prediction).chain(more).collect()
    }

    /// Refuses what packages have behind them.
    fn refuse_for_packages(&self, packages: &Path) -> Result<()> {
        match self.typed().first() {
            Some(option) => refuse!(
                "{option} is for a checkpoint that is converted in memory, and {} holds packages; leave it out, or convert \
                 the checkpoint anew with it",
                packages.display()
            ),
            None => Ok(()),
        }
    }
}

/// A model that was found.
#[derive(Debug, Clone)]
pub struct Opened {
    source: Source,
    opening: Opening,
    model: Model,
}

/// What it is.
#[derive(Debug, Clone)]
pub(crate) enum Model {
    /// A folder of packages.
    Packages(PathBuf),
    Checkpoint(Box<Checkpoint>),
}

impl Opened {
    /// What was opened, as it was given.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// What it was opened with.
    #[must_use]
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The folder, or the file, that is read.
    #[must_use]
    pub fn root(&self) -> &Path {
        match &self.model {
            Model::Packages(dir) => dir,
            Model::Checkpoint(checkpoint) => checkpoint.root(),
        }
    }

    /// Whether it is a folder of packages.
    #[must_use]
    pub fn is_packages(&self) -> bool {
        matches!(self.model, Model::Packages(_))
    }

    /// What its denoiser takes beside latents; none of packages, which only say it when they are loaded.
    pub(crate) fn takes(&self) -> Result<Option<Takes>> {
        match &self.model {
            Model::Packages(_) => Ok(None),
            Model::Checkpoint(checkpoint) => fit::takes(&**checkpoint),
        }
    }

    /// The networks that it has.
    ///
    /// # Errors
    /// When packages of a pipeline are missing, or there are several of one role.
    pub fn roles(&self) -> Result<Vec<Role>> {
        match &self.model {
            Model::Packages(dir) => Ok(ModelDir::find(dir, None)?.roles()),
            Model::Checkpoint(checkpoint) => Ok(checkpoint.roles()),
        }
    }

    /// Pixels of a picture for each pixel of its latents, and the size of the latents that it was made for.
    ///
    /// # Errors
    /// When the files that say so cannot be read.
    pub fn native_size(&self) -> Result<(usize, Option<LatentSize>)> {
        match &self.model {
            Model::Packages(dir) => ModelDir::find(dir, None)?.native_size(),
            Model::Checkpoint(checkpoint) => {
                let (own, scale) = native_size(checkpoint)?;
                Ok((scale, own))
            }
        }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }
}
