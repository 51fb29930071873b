//! Opening a checkpoint, wherever it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use safe_files::{FileKind, NamedFiles};
use sd_spec::{Family, Role};
use serde_json::{Map, Value};

use super::index::Index;
use super::{Checkpoint, Stored};
use crate::beside::{Beside, Made};
use crate::hub::Cache;
use crate::json::MAX_JSON_BYTES;
use crate::ldm::predict::STEP_KEY;
use crate::ldm::single::{Asked, SingleFile};
use crate::place::{Place, Wanted, kind_of_file};
use crate::projection::Projection;
use crate::torch::{self, TorchEntry};
use crate::upscaler::Upscaler;
use crate::{Averages, CheckpointError, Prediction, Source, Weights, family, hub, scaled, weights};

/// How a checkpoint is read, where that is not left to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// A folder in diffusers layout, with or without weights, or of one network, or a reference to such on the Hub, whose
    /// configurations and other small files stand before the checkpoint's own.
    pub config: Option<Source>,
    /// What the denoiser predicts, whatever the checkpoint says.
    pub prediction: Option<Prediction>,
    /// Which weights of a file are taken.
    pub averages: Averages,
}

const INDEX: &str = "model_index.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

impl Checkpoint {
    /// Opens a folder that holds `model_index.json` or at least one network's folder, the Hub's cache of one, or one file
    /// that holds a model; a reference to the Hub stands for what its cache has.
    ///
    /// # Errors
    /// [`CheckpointError::Place`], which says what is there instead; [`CheckpointError::Read`] and [`CheckpointError::Json`]
    /// for an index that cannot be read; [`CheckpointError::Unsupported`] for models that are known and not read;
    /// [`CheckpointError::NotCached`] for a reference to what the cache does not have.
    pub fn open(source: impl Into<Source>) -> Result<Self, CheckpointError> {
        Self::open_for(source, Wanted::Checkpoint)
    }

    /// The same, with an error that says what else would have done.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_for(source: impl Into<Source>, wanted: Wanted) -> Result<Self, CheckpointError> {
        Self::open_with(source, wanted, &Reading::default())
    }

    /// The same, read as somebody says.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and for what contradicts the checkpoint.
    pub fn open_with(source: impl Into<Source>, wanted: Wanted, reading: &Reading) -> Result<Self, CheckpointError> {
        let path = Cache::standard().locate(&source.into())?;
        let root = hub::resolve(&path)?;
        let found = if root.is_dir() { of_folder(&path, &root)? } else { of_file(&root, wanted, reading)? };
        let Some(checkpoint) = found else {
            let Place { what, next } = Place::of(&root, wanted);
            return Err(CheckpointError::Place { path: root, what, next });
        };
        if reading.averages == Averages::Taken && !matches!(checkpoint.stored, Stored::File(_)) {
            let what = "--ema is for single files; a folder has a variant, if any".to_owned();
            return Err(CheckpointError::Unsupported { path: root, what });
        }
        let checkpoint = match &reading.config {
            Some(source) => checkpoint.with_config(&hub::resolve(&Cache::standard().locate(source)?)?)?,
            None => checkpoint,
        };
        match reading.prediction {
            Some(prediction) => checkpoint.with_prediction(prediction),
            None => Ok(checkpoint),
        }
    }

    /// The same with a folder's configurations before its own.
    fn with_config(mut self, folder: &Path) -> Result<Self, CheckpointError> {
        let next = "--config takes a folder in diffusers layout, with or without weights, or that of one network";
        let refuse = |what: &str| CheckpointError::Place {
            path: folder.to_owned(),
            what: what.to_owned(),
            next: next.to_owned(),
        };
        if !folder.is_dir() {
            return Err(refuse("no folder"));
        }
        let class = class_alone(folder);
        let of_class = |role: &Role| class.as_deref().is_some_and(|class| role.spec().classes.contains(&class));
        let component = Role::ALL.into_iter().find(|role| self.has_folder(*role) && of_class(role));
        let has = |name: &str| folder.join(name).is_file();
        self.beside = match component {
            Some(role) if self.alone.is_none() => self.beside.over_component(role.spec().folder, folder),
            Some(_) => self.beside.over(folder),
            None => {
                let roles = Role::ALL.map(|role| format!("{}/config.json", role.spec().folder));
                if !has(INDEX) && !has(SCHEDULER) && !roles.iter().any(|name| has(name)) {
                    return Err(refuse("a folder without any configuration of this checkpoint's networks"));
                }
                self.beside.over(folder)
            }
        };
        let own = std::mem::take(&mut self.index);
        let given = Index::new(read_object(&self.beside, INDEX)?);
        let had = own.is_there();
        self.index = given.over(own, |role| self.has_folder(role));
        if !had && self.alone.is_some() {
            self.index = Index::default();
        }
        let follows = match &self.stored {
            Stored::Folder => true,
            // Text encoders and autoencoders of several families are alike.
            Stored::File(file) => file.prediction().is_none() && self.alone.is_none() && self.index.is_there(),
            Stored::Projection(_) | Stored::Upscaler(_) => false,
        };
        if follows {
            self.family = family::of(|role| self.known_config(role), self.index.asks_for_scores());
        }
        Ok(self)
    }

    /// The same with a scheduler for what the denoiser is said to predict.
    fn with_prediction(mut self, prediction: Prediction) -> Result<Self, CheckpointError> {
        let Some(mut config) = read_object(&self.beside, SCHEDULER)?.map(Value::from) else {
            let what = format!("it has no {SCHEDULER}, so --prediction has no effect");
            return Err(CheckpointError::Unsupported { path: self.root, what });
        };
        let path = self.beside.place(SCHEDULER);
        let is_flow = |prediction| prediction == Prediction::Flow;
        let own = Prediction::of_scheduler(&config);
        if is_flow(prediction) != own.is_some_and(is_flow) {
            let can = if is_flow(prediction) { "noise or velocities (epsilon, v)" } else { "flow" };
            let what = format!("its scheduler is for models that predict {can}, and --prediction {prediction} is not");
            return Err(CheckpointError::Unsupported { path, what });
        }
        if let Some(name) = prediction.in_diffusers() {
            config["prediction_type"] = name.into();
            let files = [(SCHEDULER.to_owned(), Made::Json(config))].into_iter().collect();
            self.beside = self.beside.over_made(files, &path);
        }
        Ok(self)
    }
}

/// The class of a network whose configuration lies at the top of a folder.
pub(super) fn class_alone(folder: &Path) -> Option<String> {
    let config: Value = serde_json::from_slice(&crate::read_json(&folder.join("config.json")).ok()?).ok()?;
    let class = config.get("_class_name").or_else(|| config.get("architectures")?.get(0))?;
    class.as_str().map(str::to_owned)
}

/// A JSON object beside a checkpoint, if it is there.
pub(super) fn read_object(beside: &Beside, name: &str) -> Result<Option<Map<String, Value>>, CheckpointError> {
    let Some(json) = beside.read(name, MAX_JSON_BYTES)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|source| CheckpointError::Json { path: beside.place(name), source })
}

/// A folder; none for one that holds no checkpoint.
fn of_folder(given: &Path, root: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
    let beside = Beside::folder(root);
    let index = Index::new(read_object(&beside, INDEX)?);
    let alone = || {
        let class = class_alone(root)?;
        Role::ALL.into_iter().find(|role| role.spec().stands_alone && role.spec().classes.contains(&&*class))
    };
    let alone = if index.is_there() { None } else { alone() };
    let mut checkpoint = Checkpoint {
        name: name(given, root),
        root: root.to_owned(),
        family: Family::Sd,
        alone,
        stored: Stored::Folder,
        beside,
        index,
        variant: None,
        vae: None,
        adapters: Vec::new(),
        named_by: None,
        words: Vec::new(),
    };
    checkpoint.family = family::of(|role| checkpoint.known_config(role), checkpoint.index.asks_for_scores());
    let is_checkpoint = checkpoint.index.is_there() || Role::ALL.iter().any(|&role| checkpoint.has_folder(role));
    Ok(is_checkpoint.then_some(checkpoint))
}

/// One file; none for one that holds no checkpoint.
fn of_file(path: &Path, wanted: Wanted, reading: &Reading) -> Result<Option<Checkpoint>, CheckpointError> {
    if !path.is_file() || !wanted.takes_checkpoints() {
        return Ok(None);
    }
    let projection = if wanted == Wanted::Checkpoint { Projection::read(path)? } else { None };
    let config = |config: Value| Beside::made([("config.json".to_owned(), Made::Json(config))].into(), path);
    let (stored, beside, family, alone) = if let Some(projection) = projection {
        let beside = config(projection.config());
        (Stored::Projection(Arc::new(projection)), beside, Family::Sd, Some(Role::MultilingualProjection))
    } else {
        let Some((weights, metadata)) = tensors(path)? else { return Ok(None) };
        if let Some(upscaler) = Upscaler::of(path, &weights)? {
            let beside = config(upscaler.config());
            (Stored::Upscaler(Arc::new(upscaler)), beside, Family::Sd, Some(Role::Upscaler))
        } else {
            let Some(file) = SingleFile::of(path, weights, metadata, asked(reading))? else { return Ok(None) };
            let (family, alone, beside) = (file.family(), file.alone(), Beside::made(file.made(), path));
            (Stored::File(Arc::new(file)), beside, family, alone)
        }
    };
    let name = path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let index = Index::new(read_object(&beside, INDEX)?);
    let (root, variant, vae, adapters, named_by, words) = (path.to_owned(), None, None, Vec::new(), None, Vec::new());
    Ok(Some(Checkpoint { root, name, beside, stored, index, family, alone, variant, vae, adapters, named_by, words }))
}

/// A model in a file of safetensors, or of PyTorch.
pub(super) fn single(path: &Path, reading: &Reading) -> Result<Option<SingleFile>, CheckpointError> {
    let Some((weights, metadata)) = tensors(path)? else { return Ok(None) };
    SingleFile::of(path, weights, metadata, asked(reading))
}

fn asked(reading: &Reading) -> Asked {
    Asked { prediction: reading.prediction, averages: reading.averages }
}

/// Weights of a file, and what its header says beside them.
type Tensors = (Weights, HashMap<String, String>);

/// The tensors of a file of safetensors, or of PyTorch, and what it says of itself; none of other files.
fn tensors(path: &Path) -> Result<Option<Tensors>, CheckpointError> {
    let (mut weights, metadata) = match kind_of_file(path) {
        Some(FileKind::Safetensors) => (Weights::map(&[path.to_owned()])?, weights::metadata(path)?),
        Some(FileKind::Zip | FileKind::Pickle) => {
            let file = match torch::read(path) {
                Ok(file) => file,
                // Of archives of other names it is said what they are, damaged or not.
                Err(_) if !is_named_for_torch(path) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut weights = Weights::default();
            weights.add_torch(&file)?;
            let step = match file.get(STEP_KEY) {
                Some(TorchEntry::Int(step)) => Some((STEP_KEY.to_owned(), step.to_string())),
                _ => None,
            };
            (weights, step.into_iter().collect())
        }
        _ => return Ok(None),
    };
    scaled::apply(&mut weights).map_err(|what| CheckpointError::Unsupported { path: path.to_owned(), what })?;
    Ok(Some((weights, metadata)))
}

/// Whether a file has a name that PyTorch's have.
fn is_named_for_torch(path: &Path) -> bool {
    const ENDINGS: [&str; 4] = ["ckpt", "pt", "pth", "bin"];
    path.extension().is_some_and(|e| ENDINGS.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
}

/// `owner/name` where the directory lies in the Hub's cache, else its own name.
pub(super) fn name(given: &Path, root: &Path) -> String {
    let repository = || hub::repository_name(given).filter(|_| given != root).or_else(|| hub::name_of(root));
    let own = || {
        let absolute = root.canonicalize().ok()?;
        absolute.file_name().map(|n| n.to_string_lossy().into_owned())
    };
    repository().or_else(own).unwrap_or_else(|| "model".to_owned())
}
