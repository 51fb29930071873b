//! A checkpoint: which networks it has, their configurations and weights.
//!
//! Which there are in a folder is what `model_index.json` says, as in diffusers, and where that is missing, what folders
//! there are. What stands beside the weights is read by name ([`Checkpoint::read`]), for a model in one file has no folder.
//! Configurations are read by `sd-models`; here only the class is looked at.

mod index;
mod networks;
mod open;
mod refuse;
mod sources;
#[cfg(test)]
mod tests;
mod vae;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safe_files::{NamedFiles, ReadError};
use sd_models::NetworkConfig;
use sd_spec::{Family, FamilySpec, Role};
use serde_json::Value;

use crate::beside::{Beside, Made};
use crate::json::MAX_JSON_BYTES;
use crate::ldm::single::SingleFile;
use crate::projection::Projection;
use crate::upscaler::Upscaler;
use crate::{Adapter, Applied, CheckpointError, Word};
use index::{Index, Listed};
pub use open::Reading;
pub use sources::{SourcePart, WeightFile};
use vae::Vae;

/// A checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The folder, or the file.
    root: PathBuf,
    name: String,
    beside: Beside,
    stored: Stored,
    index: Index,
    /// Its family, as far as its configurations tell.
    family: Family,
    /// The role of the network that all of it is, where that stands alone.
    alone: Option<Role>,
    /// The variant of the weights that was asked for.
    variant: Option<String>,
    /// The autoencoder in the place of its own.
    vae: Option<Arc<Vae>>,
    adapters: Vec<Arc<dyn Adapter>>,
    /// The network by which tensors of a file are named, where its adapters leave another one.
    named_by: Option<(Role, NetworkConfig)>,
    /// New words that are in its text encoders and tokenizers.
    words: Vec<Word>,
}

/// Where its weights are.
#[derive(Debug, Clone)]
enum Stored {
    /// In a folder for each network.
    Folder,
    /// In one file.
    File(Arc<SingleFile>),
    /// In a file that holds one layer.
    Projection(Arc<Projection>),
    /// In a file of an upscaler.
    Upscaler(Arc<Upscaler>),
}

impl Checkpoint {
    /// The same with the weights of a variant (`fp16`, `non_ema`) where a component has it; `None` asks for none.
    #[must_use]
    pub fn with_variant(self, variant: Option<String>) -> Self {
        Self { variant, ..self }
    }

    /// The same with other small files before its own, which follow from `of`.
    pub(crate) fn with_made(mut self, files: BTreeMap<String, Value>, of: &Path) -> Self {
        let files = files.into_iter().map(|(name, json)| (name, Made::Json(json))).collect();
        self.beside = self.beside.over_made(files, of);
        self
    }

    /// The same, where a role's tensors in one file are those of this network, whatever is made of it.
    pub(crate) fn with_names_of(self, role: Role, network: NetworkConfig) -> Self {
        Self { named_by: Some((role, network)), ..self }
    }

    pub(crate) fn with_words(mut self, words: Vec<Word>) -> Self {
        self.words.extend(words);
        self
    }

    /// New words that it was opened with, which prompts may have.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The same, with its weights changed by an adapter, after those that change them already.
    #[must_use]
    pub fn with(mut self, adapter: impl Adapter + 'static) -> Self {
        self.adapters.push(Arc::new(adapter));
        self
    }

    /// The adapters that people name which change its weights, in their order.
    #[must_use]
    pub fn applied(&self) -> Vec<Applied> {
        self.adapters.iter().filter_map(|adapter| adapter.applied()).collect()
    }

    /// Its family, as far as its configurations tell; [`Checkpoint::check_family`] says whether all of it is known here.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The roles that it has a network for, those on request aside.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = self.usual_roles();
        roles.retain(|&role| self.has(role));
        roles
    }

    /// The roles that a checkpoint of its kind has, in their order; those on request aside. A file of one network has its
    /// roles only.
    #[must_use]
    pub fn usual_roles(&self) -> Vec<Role> {
        let FamilySpec { required, optional, .. } = self.family.spec();
        let only = self.single_file().filter(|_| self.vae.is_none()).and_then(SingleFile::only);
        let is_usual = |role: &Role| match self.alone {
            Some(own) => *role == own,
            None if only.is_some_and(|only| only.spec().folder != role.spec().folder) => false,
            None => required.contains(role) || optional.contains(role),
        };
        Role::ALL.into_iter().filter(is_usual).collect()
    }

    /// Whether it is one network alone, of a class that repositories hold without a pipeline.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Its denoiser's role.
    #[must_use]
    pub fn denoiser(&self) -> Role {
        let mut denoisers = self.usual_roles().into_iter().filter(|role| role.is_denoiser());
        denoisers.next().unwrap_or(Role::UNet)
    }

    /// The folder, or the file.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The model in one file, where it is that.
    #[must_use]
    pub fn single_file(&self) -> Option<&SingleFile> {
        match &self.stored {
            Stored::File(file) => Some(file),
            Stored::Folder | Stored::Projection(_) | Stored::Upscaler(_) => None,
        }
    }

    /// Which upscaler it is, in words, where it is one.
    #[must_use]
    pub fn upscaler(&self) -> Option<&str> {
        match &self.stored {
            Stored::Upscaler(upscaler) => Some(upscaler.words()),
            _ => None,
        }
    }

    /// What stands for the model version where none is given: `owner/name` in the Hub's cache, else the name of the
    /// directory, or that of the file without its ending.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// A small file beside the weights by its name in a folder of diffusers (`scheduler/scheduler_config.json`), if it is
    /// there; for a model in one file it is made. [`NamedFiles`] is the same with another cap.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] for one that cannot be read or is absurdly large.
    pub fn file(&self, name: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        Ok(self.beside.read(name, MAX_JSON_BYTES)?)
    }

    /// Where the weights of a component are, for messages: its folder, or the file.
    #[must_use]
    pub fn folder(&self, role: Role) -> PathBuf {
        if let Some(vae) = self.given_vae(role) {
            return vae.place().to_owned();
        }
        match (&self.stored, self.alone) {
            (Stored::File(_) | Stored::Projection(_) | Stored::Upscaler(_), _) | (_, Some(_)) => self.root.clone(),
            (Stored::Folder, None) => self.root.join(role.spec().folder),
        }
    }

    /// Where a component's configuration is, for messages.
    #[must_use]
    pub fn config_place(&self, role: Role) -> PathBuf {
        self.beside.place(&self.config_name(role))
    }

    fn config_name(&self, role: Role) -> String {
        match self.alone {
            Some(_) => "config.json".to_owned(),
            None => format!("{}/config.json", role.spec().folder),
        }
    }

    /// True when the checkpoint has the component: the index lists it, or there is no index, and its configuration is there.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.is_possible(role) && !matches!(self.listed(role), Listed::LeftOut) && self.has_folder(role)
    }

    /// What the index says of a role's network, unless it is not the checkpoint's own.
    fn listed(&self, role: Role) -> Listed {
        match self.given_vae(role) {
            Some(_) => Listed::Unknown,
            None => self.index.listed(role.spec().folder),
        }
    }

    /// Roles that share a folder are told by the family; a network that stands alone has its own only.
    fn is_possible(&self, role: Role) -> bool {
        let family = self.family.spec();
        let shares = role.is_denoiser();
        let is_of_family = || [family.required, family.on_request].concat().contains(&role);
        match self.alone {
            Some(own) => role == own,
            None => !shares || is_of_family(),
        }
    }

    /// True when the index lists the component, whether it is there or not.
    #[must_use]
    pub fn lists(&self, role: Role) -> bool {
        matches!(self.index.listed(role.spec().folder), Listed::Class(_))
    }

    /// Whether the network is there, whatever the index says.
    fn has_folder(&self, role: Role) -> bool {
        if self.given_vae(role).is_some() {
            return true;
        }
        match &self.stored {
            Stored::Projection(_) | Stored::Upscaler(_) => self.alone == Some(role),
            Stored::File(file) => file.has(role),
            Stored::Folder => self.beside.own().is_file(&self.config_name(role)),
        }
    }

    /// The class of the pipeline, if the index says it.
    #[must_use]
    pub fn pipeline(&self) -> Option<String> {
        self.index.pipeline()
    }
}

/// What stands beside the weights.
impl NamedFiles for Checkpoint {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.beside.read(name, limit)
    }

    fn has(&self, name: &str) -> bool {
        self.beside.has(name)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.beside.place(name)
    }
}
