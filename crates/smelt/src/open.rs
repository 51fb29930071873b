//! A model, wherever it comes from: a folder of packages, or a checkpoint.

use std::path::{Path, PathBuf};

use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Checkpoint, hub};
use sd_convert::{LatentSize, native_size};
use sd_spec::Role;

use crate::error::Result;
use crate::model_dir::{self, ModelDir};

/// Opens a folder of packages, or of a checkpoint in diffusers layout; a repository in the cache of huggingface_hub
/// stands for its snapshot.
///
/// # Errors
/// For everything else, which is named for what it is, with the next step: single files, components of their own, names
/// of models that are not on this machine.
pub fn open(source: impl AsRef<Path>) -> Result<Opened> {
    open_for(source, Wanted::Model)
}

/// The same where a checkpoint is wanted, and packages are refused.
///
/// # Errors
/// As [`open`], and for a folder of packages.
pub fn open_checkpoint(source: impl AsRef<Path>) -> Result<Opened> {
    open_for(source, Wanted::Checkpoint)
}

fn open_for(source: impl AsRef<Path>, wanted: Wanted) -> Result<Opened> {
    let source = source.as_ref().to_owned();
    let dir = hub::resolve(&source)?;
    if wanted == Wanted::Model && dir.is_dir() && !model_dir::packages(&dir)?.is_empty() {
        return Ok(Opened { source, model: Model::Packages(dir) });
    }
    let checkpoint = Checkpoint::open_for(&source, wanted)?;
    Ok(Opened { source, model: Model::Checkpoint(checkpoint) })
}

/// A model that was found.
#[derive(Debug, Clone)]
pub struct Opened {
    source: PathBuf,
    model: Model,
}

/// What it is.
#[derive(Debug, Clone)]
pub(crate) enum Model {
    /// A folder of packages.
    Packages(PathBuf),
    Checkpoint(Checkpoint),
}

impl Opened {
    /// The path as it was given.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The folder that is read.
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
