//! A file that holds a model, or one network, in LDM's, SGM's or Stability's layout.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sd_models::NetworkConfig;
use sd_spec::{Family, Role};

use super::kinds::Kind;
use super::leftover::leftover;
use super::made;
use super::network::{self, Averages};
use super::parts::{Contents, Layout, Part};
use super::predict::{ARCHITECTURE, Predicted, predicted};
use super::spelling::Spelling;
use super::tensors::Tensors;
use crate::beside::Made;
use crate::{CheckpointError, Prediction, Weights, foreign};

/// A model in one file.
#[derive(Debug)]
pub struct SingleFile {
    path: PathBuf,
    weights: Weights,
    contents: Contents,
    predicted: Predicted,
    averages: Averages,
    leftover: Vec<String>,
    metadata: HashMap<String, String>,
}

/// What beside the file decides how it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) prediction: Option<Prediction>,
    pub(crate) averages: Averages,
}

impl SingleFile {
    /// Looks at a file's tensors; none where they are no network in these layouts.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] for models that are known and not read, and for what contradicts the file.
    pub(crate) fn of(
        path: &Path,
        weights: Weights,
        metadata: HashMap<String, String>,
        asked: Asked,
    ) -> Result<Option<Self>, CheckpointError> {
        let unsupported = |what: String| CheckpointError::Unsupported { path: path.to_owned(), what };
        let keys: Vec<String> = weights.iter().map(|(key, _)| key.to_owned()).collect();
        if let Some(what) = foreign::tensors(&keys) {
            return Err(unsupported(format!("this is {what}, which is not converted")));
        }
        let architecture = metadata.get(ARCHITECTURE).map(String::as_str);
        let Some(contents) = Contents::of(&weights, architecture).map_err(unsupported)? else { return Ok(None) };
        let denoiser = contents.parts.iter().find_map(|part| match part.layout {
            Layout::UNet(spelling) | Layout::ControlNet(spelling) => {
                Some((Tensors::new(&weights, part.prefix), spelling))
            }
            _ => None,
        });
        let predicted =
            predicted(&weights, contents.kind, denoiser, &metadata, asked.prediction).map_err(unsupported)?;
        let leftover = leftover(&weights, &contents);
        let file =
            Self { path: path.to_owned(), weights, contents, predicted, averages: asked.averages, leftover, metadata };
        if file.averages == Averages::Taken && !file.has_averages() {
            return Err(unsupported("it holds no average of a UNet's weights; leave out --ema".to_owned()));
        }
        Ok(Some(file))
    }

    /// The small files that stand beside the weights in a folder of diffusers.
    pub(crate) fn made(&self) -> BTreeMap<String, Made> {
        made::files(&self.weights, &self.contents, &self.predicted)
    }

    /// Why no configuration follows from the tensors of a role's network.
    pub(crate) fn fault(&self, role: Role) -> Option<CheckpointError> {
        let config = made::config(&self.weights, self.part(role)?, self.kind().spec(), &self.predicted);
        let next = "the file may be incomplete, or --config DIR says what the network is";
        let unsupported =
            |what| CheckpointError::Unsupported { path: self.path.clone(), what: format!("{what}; {next}") };
        config.err().map(unsupported)
    }

    /// The weights of a role's network under the names of diffusers.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] for tensors that are not what the names say.
    pub(crate) fn network(&self, role: Role, config: &NetworkConfig) -> Result<Weights, CheckpointError> {
        let unsupported = |what: String| CheckpointError::Unsupported { path: self.path.clone(), what };
        let part = self.part(role).ok_or_else(|| unsupported(format!("it holds no {role}")))?;
        let others: Vec<&str> =
            self.contents.parts.iter().map(|other| other.prefix).filter(|prefix| *prefix != part.prefix).collect();
        network::weights(&self.weights, part, &others, config, self.averages).map_err(unsupported)
    }

    /// What the file calls a tensor of a network, by diffusers' name.
    pub(crate) fn key_of(&self, role: Role, config: &NetworkConfig, key: &str) -> Option<String> {
        let part = self.part(role)?;
        let names = network::names(&self.weights, part, config);
        Some(format!("{}{}", part.prefix, names.origin(key)?.key))
    }

    /// Whether it holds the role's network.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.part(role).is_some()
    }

    /// A network plays all roles of its folder, but for one that is a half by itself.
    fn part(&self, role: Role) -> Option<&Part> {
        let is_half = |part: &Part| matches!(part.layout, Layout::TinyVae(Spelling::Original));
        let plays = |part: &&Part| match is_half(part) {
            true => part.role == role,
            false => part.role.spec().folder == role.spec().folder,
        };
        self.contents.parts.iter().find(plays)
    }

    /// The role of the network that all of it is, where such a network stands alone.
    pub(crate) fn alone(&self) -> Option<Role> {
        self.contents.parts.iter().map(|part| part.role).find(|role| role.spec().stands_alone)
    }

    pub(super) const fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(super) const fn predicted(&self) -> &Predicted {
        &self.predicted
    }

    pub(super) const fn kind(&self) -> Kind {
        self.contents.kind
    }

    /// All tensors of the file, by its own keys.
    #[must_use]
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What people call the kind of model that it is.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        self.contents.kind.spec().name
    }

    /// What it is in words: the kind of model, or one network of it.
    #[must_use]
    pub fn words(&self) -> String {
        let kind = self.kind_name();
        match self.only() {
            Some(role) => format!("{}, the {} alone", kind, role.spec().folder.replace('_', " ")),
            None => kind.to_owned(),
        }
    }

    /// The role of the only network that it holds, where that is one, or the halves of one; its folder's first.
    pub(crate) fn only(&self) -> Option<Role> {
        let (first, others) = self.contents.parts.split_first()?;
        let is_alike = |other: &Part| other.role.spec().folder == first.role.spec().folder;
        others.iter().all(is_alike).then_some(first.role)
    }

    /// The family that it belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.contents.kind.spec().family
    }

    /// What its denoiser predicts, where it has one.
    #[must_use]
    pub fn prediction(&self) -> Option<Prediction> {
        let has = self.contents.parts.iter().any(|part| part.role.is_denoiser());
        has.then_some(self.predicted.prediction)
    }

    /// How that is known, in words.
    #[must_use]
    pub fn prediction_source(&self) -> String {
        self.predicted.source(self.kind().spec().name)
    }

    /// The networks that it holds: one role of each, and how the keys of its tensors begin.
    pub fn networks(&self) -> impl Iterator<Item = (Role, &'static str)> {
        self.contents.parts.iter().map(|part| (part.role, part.prefix))
    }

    /// Roles that a model of its kind needs, and whose networks it does not hold.
    #[must_use]
    pub fn missing(&self) -> Vec<Role> {
        if self.alone().is_some() || self.prediction().is_none() {
            return Vec::new();
        }
        self.family().spec().required.iter().copied().filter(|role| !self.has(*role)).collect()
    }

    /// Keys of tensors that belong to nothing that is known.
    #[must_use]
    pub fn leftover(&self) -> &[String] {
        &self.leftover
    }

    /// Whether it holds an average (EMA) of its UNet's weights beside them.
    #[must_use]
    pub fn has_averages(&self) -> bool {
        self.contents.parts.iter().any(|part| network::has_averages(&self.weights, part))
    }

    /// Which of the two are taken.
    #[must_use]
    pub const fn averages(&self) -> Averages {
        self.averages
    }

    /// What the file says of itself.
    #[must_use]
    pub const fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }
}
