//! Compression by what a denoiser is given when it draws: which packages the data are of, and what came of it.

use std::path::{Path, PathBuf};

use host_tensor::Stop;
use mil::Function;
use mil_compress::{Config, Outcome, Plan, Scheme};
use mil_sensitivity::{Calibrator, STATISTICS_BYTES};
use mlpackage::Package;
use sd_runtime::{Signature, Tensors};

use super::Task;
use crate::analyse::inputs_of;
use crate::calibrate::CalibrationData;
use crate::engine::EngineSpec;
use crate::error::{Context, Result, refusal, refuse};
use crate::package::{default_function, is_large};
use crate::units::count;
use crate::watch::{Watch, warn};

/// Where it is known from what weights are multiplied by.
#[derive(Debug, Clone)]
pub struct CalibratedBy {
    /// What `smelt calibrate` wrote.
    pub file: PathBuf,
    /// Samples that are run, spread evenly over those of the file; default: all, and [`SAMPLES_OF_LARGE`] for models of more
    /// than [`crate::LARGE`] elements.
    pub samples: Option<usize>,
}

/// Samples that a large model is run with where nobody says.
pub const SAMPLES_OF_LARGE: usize = 16;

impl CalibratedBy {
    /// Reads the data, for weights that are stored by such a configuration.
    pub(super) fn read(&self, config: &Config) -> Result<CalibrationData> {
        if self.samples == Some(0) {
            refuse!("a compression by no samples was asked for; at least 1 is needed");
        }
        let mut schemes = config.op_types.values().chain(config.names.iter().map(|(_, scheme)| scheme));
        if !takes_calibration(&config.global) && !schemes.any(takes_calibration) {
            refuse!(
                "--calibration chooses codes of palettes and integers, and no weight is to be stored so: \
                 --bits N or --dtype int8 would do, without vectors (--cluster-dim) and without pruning"
            );
        }
        CalibrationData::read(&self.file)
    }
}

/// Whether codes can be chosen by what a weight is multiplied by.
fn takes_calibration(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Palettize(how) => how.cluster_dim == 1,
        Scheme::Quantize(_) => true,
        _ => false,
    }
}

/// A package's own batches of the data.
#[derive(Debug)]
pub(super) struct Batches {
    inputs: Vec<Tensors>,
    n_samples: usize,
}

impl Batches {
    /// The batches of a package; an error where the data are not of it.
    pub(super) fn of(asked: &CalibratedBy, data: &CalibrationData, package: &Package) -> Result<Self> {
        let name = package.path().display();
        if package.model().program().is_none() {
            refuse!(
                "{name} is a pipeline of several programs; compress the whole that it was cut from, and cut it then"
            );
        }
        let function = function_of(package)?;
        let signature = Signature { inputs: inputs_of(function, &name.to_string())?, outputs: Vec::new() };
        let usual = || if is_large(function) { SAMPLES_OF_LARGE } else { data.n_samples() };
        let n = asked.samples.unwrap_or_else(usual);
        let data = data.clone().evenly(n);
        let batches = data.batches(&signature)?.map(|batch| Ok(batch?.inputs)).collect::<Result<_>>()?;
        Ok(Self { inputs: batches, n_samples: data.n_samples() })
    }

    /// How many samples there are.
    pub(super) fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// What tells of each weight of a plan what it is multiplied by.
    pub(super) fn calibrator(&self, package: &Package, plan: &Plan, stop: &Stop) -> Result<Calibrator> {
        let how = (STATISTICS_BYTES, EngineSpec::default().cpu()?);
        let function = function_of(package)?;
        let calibrator = Calibrator::new(function, &plan.weights().collect::<Vec<_>>(), self.inputs.clone(), how, stop);
        calibrator.with_context(|| format!("cannot run {}", package.path().display()))
    }
}

/// Gives the data to the packages that they are of.
pub(super) fn calibrate(tasks: &mut [Task], by: &CalibratedBy, data: &CalibrationData) -> Result<()> {
    let mut mismatch = None;
    for task in tasks.iter_mut().filter(|task| task.plans.iter().any(|plan| !plan.is_empty())) {
        match Batches::of(by, data, &task.package) {
            Ok(batches) => task.batches = Some(batches),
            Err(error) => mismatch = Some(error),
        }
    }
    let of = |path: &PathBuf| tasks.iter().find(|task| task.output == *path);
    for task in tasks.iter().filter(|task| task.batches.is_none()) {
        if let Some(first) = task.first.as_ref().and_then(of).filter(|first| first.batches.is_some()) {
            refuse!(
                "{} shares its weights with {}, and the calibration data are not of its size: compress that one alone, \
                 or convert for several sizes in one package (--target macOS15)",
                task.input.display(),
                first.input.display()
            );
        }
    }
    match mismatch {
        Some(error) if tasks.iter().all(|task| task.batches.is_none()) => Err(error),
        _ => Ok(()),
    }
}

fn function_of(package: &Package) -> Result<&Function> {
    default_function(package).ok_or_else(|| refusal!("{} has no function", package.path().display()))
}

/// Says which weights the data decided nothing of.
pub(super) fn tell(outcome: &Outcome, path: &Path, watch: &mut dyn Watch) -> Result<()> {
    let plain: Vec<&str> = outcome.compressed.iter().filter(|w| !w.is_calibrated).map(|w| w.name.as_str()).collect();
    match plain.as_slice() {
        [] => Ok(()),
        [only] => warn(watch, &format!("{only} is compressed as without calibration data, which say nothing of it")),
        [first, ..] => warn(
            watch,
            &format!(
                "{} of {} are compressed as without calibration data, for example {first}: the data say nothing of them, or \
                 what they say takes more than {} GiB",
                count(plain.len(), "weight"),
                path.display(),
                STATISTICS_BYTES >> 30
            ),
        ),
    }
}
