//! What a checkpoint holds, a folder or one file.

use std::collections::BTreeMap;
use std::path::Path;

use sd_checkpoint::place::{Wanted, is_named_as_checkpoint};
use sd_checkpoint::{Averages, Checkpoint, Prediction};
use sd_convert::{LatentSize, Options};
use sd_spec::{Family, FamilySpec, Role};
use serde::Serialize;

use super::hashes::HashFacts;
use crate::error::Result;
use crate::file::json_if_present;
use crate::open::Opening;
use crate::package::is_named_as_package;

/// What a checkpoint holds.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointFacts {
    /// The folder or file.
    pub path: String,
    /// Whether it is one file.
    pub is_file: bool,
    /// What people call the kind of model.
    pub kind: String,
    /// The class of its pipeline in diffusers, if it is one.
    pub pipeline: Option<String>,
    /// What its denoiser predicts.
    pub prediction: Option<&'static str>,
    /// How that is known.
    pub prediction_source: Option<String>,
    /// Its networks.
    pub components: Vec<ComponentFacts>,
    /// Parameters of all networks.
    pub n_parameters: u64,
    /// Components that nothing is drawn without, and that are not there.
    pub missing: Vec<&'static str>,
    /// Whether a file holds an average (EMA) of its denoiser's weights, and whether that is taken.
    pub averages: Option<AveragesFacts>,
    /// Keys of a file's tensors that belong to nothing that is known.
    pub leftover: Vec<String>,
    /// What a file says of itself.
    pub metadata: BTreeMap<String, String>,
    /// The files that its weights are read from with their hashes, where somebody asked for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<HashFacts>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// An average of a denoiser's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AveragesFacts {
    /// It is there, and the plain weights are taken.
    LeftAside,
    /// It is taken.
    Taken,
}

/// A network of a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct ComponentFacts {
    /// Its name on the command line; the autoencoder's halves are one.
    pub component: &'static str,
    /// How the keys of its tensors begin, in a file.
    pub prefix: Option<&'static str>,
    /// How many tensors it has.
    pub n_tensors: usize,
    /// How many numbers these have.
    pub n_parameters: u64,
    /// Types of the tensors, with how many there are.
    pub precision: BTreeMap<&'static str, usize>,
    /// Why it cannot be converted, if so.
    pub fault: Option<String>,
}

impl CheckpointFacts {
    /// Looks at a checkpoint; none where a package, or nothing, stands at the path.
    ///
    /// # Errors
    /// For a file that holds something else, by its name, or is damaged.
    pub fn of(path: &Path, opening: &Opening) -> Result<Option<Self>> {
        let is_of_core_ml = is_named_as_package(path) || path.extension().is_some_and(|e| e == "mlmodel");
        if is_of_core_ml || (path.is_file() && !is_named_as_checkpoint(path)) || !path.exists() {
            return Ok(None);
        }
        match opening.checkpoint(&path.into(), Wanted::Checkpoint) {
            Ok(checkpoint) => Ok(Some(Self::of_checkpoint(&checkpoint)?)),
            Err(error) if path.is_file() => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let file = checkpoint.single_file();
        let components = components(checkpoint);
        let (prediction, prediction_source) = prediction(checkpoint)?;
        let averages = file.filter(|file| file.has_averages()).map(|file| match file.averages() {
            Averages::LeftAside => AveragesFacts::LeftAside,
            Averages::Taken => AveragesFacts::Taken,
        });
        Ok(Self {
            path: checkpoint.root().display().to_string(),
            is_file: checkpoint.root().is_file(),
            kind: kind_of(checkpoint),
            pipeline: checkpoint.pipeline(),
            prediction,
            prediction_source,
            n_parameters: components.iter().map(|component| component.n_parameters).sum(),
            components,
            missing: missing(checkpoint).into_iter().map(Role::name).collect(),
            averages,
            leftover: file.map_or_else(Vec::new, |file| file.leftover().to_vec()),
            metadata: file.map_or_else(BTreeMap::new, |file| file.metadata().clone().into_iter().collect()),
            hashes: Vec::new(),
            warnings: checkpoint.warnings(),
        })
    }
}

/// What people call it.
fn kind_of(checkpoint: &Checkpoint) -> String {
    let file = checkpoint.single_file().map(|file| file.words());
    let own = file.or_else(|| checkpoint.upscaler().map(str::to_owned));
    own.unwrap_or_else(|| checkpoint.family().spec().name.to_owned())
}

/// Its networks, each once.
fn components(checkpoint: &Checkpoint) -> Vec<ComponentFacts> {
    let mut components: Vec<(&str, ComponentFacts)> = Vec::new();
    for role in checkpoint.roles() {
        let folder = role.spec().folder;
        if components.iter().all(|(other, _)| *other != folder) {
            components.push((folder, component(checkpoint, role)));
        }
    }
    components.into_iter().map(|(_, component)| component).collect()
}

fn component(checkpoint: &Checkpoint, role: Role) -> ComponentFacts {
    let weights = checkpoint.weights(role).unwrap_or_default();
    let mut precision = BTreeMap::new();
    let (mut n_tensors, mut n_parameters) = (0, 0u64);
    for (_, weight) in weights.iter() {
        let n = weight.shape().iter().map(|&n| n as u64).product::<u64>();
        (n_tensors, n_parameters) = (n_tensors + 1, n_parameters.saturating_add(n));
        *precision.entry(weight.dtype().name()).or_insert(0) += 1;
    }
    let networks = checkpoint.single_file().into_iter().flat_map(|file| file.networks());
    let is_same = |other: Role| other.spec().folder == role.spec().folder;
    // A network that stands alone has no size of its own.
    let latent_size = role.spec().stands_alone.then_some(LatentSize { height: 64, width: 64 });
    let options = Options { latent_size, ..Options::default() };
    ComponentFacts {
        component: role.spec().folder,
        prefix: networks.into_iter().find(|(other, _)| is_same(*other)).map(|(_, prefix)| prefix),
        n_tensors,
        n_parameters,
        precision,
        fault: sd_convert::check(checkpoint, role, &options).err().map(|e| e.to_string()),
    }
}

/// Roles that nothing is drawn without, and that are not there; none of what is no pipeline.
fn missing(checkpoint: &Checkpoint) -> Vec<Role> {
    let is_pipeline = checkpoint.pipeline().is_some() || checkpoint.has(checkpoint.denoiser());
    let FamilySpec { required, .. } = checkpoint.family().spec();
    let is_missing = |role: &Role| is_pipeline && !checkpoint.is_alone() && !checkpoint.has(*role);
    required.iter().copied().filter(is_missing).collect()
}

/// What its denoiser predicts, and how that is known.
fn prediction(checkpoint: &Checkpoint) -> Result<(Option<&'static str>, Option<String>)> {
    if checkpoint.is_alone() || !checkpoint.has(checkpoint.denoiser()) {
        return Ok((None, None));
    }
    let scheduler = json_if_present(checkpoint, "scheduler/scheduler_config.json")?;
    let of_scheduler = scheduler.as_ref().and_then(Prediction::of_scheduler);
    let of_family = || if checkpoint.family() == Family::Sd3 { Prediction::Flow } else { Prediction::Epsilon };
    let prediction = of_scheduler.unwrap_or_else(of_family);
    let source = match checkpoint.single_file() {
        Some(file) if file.prediction() == Some(prediction) => file.prediction_source(),
        _ => "by scheduler_config.json".to_owned(),
    };
    Ok((Some(prediction.name()), Some(source)))
}
