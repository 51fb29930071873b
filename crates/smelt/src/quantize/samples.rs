//! What a package is run on: calibration data, or random numbers where there is none.

use std::path::Path;

use mlpackage::{Body, Package};
use sd_convert::half::typical_inputs;
use sd_convert::quantize::Sample;
use sd_engines::{CpuOptions, MilEngine};
use sd_runtime::Engine;

use crate::calibrate::CalibrationData;
use crate::error::Result;
use crate::package::inputs_of;

/// How many random inputs are drawn.
const RANDOM_RUNS: u64 = 8;

/// Inputs of runs, and where they come from.
#[derive(Debug)]
pub(super) struct Samples {
    runs: Vec<Sample>,
    is_random: bool,
}

impl Samples {
    /// The samples of a file as a package takes them, or random ones.
    pub(super) fn of(package: &Package, calibration: Option<&Path>) -> Result<Self> {
        let engine = MilEngine::from_model(package.model(), CpuOptions::default())?;
        let Some(path) = calibration else {
            let inputs = inputs_of(&engine);
            let function = match &package.model().body {
                Body::Program(program) => program.main(),
                Body::Pipeline(_) => None,
            };
            let n_rows = inputs.iter().find_map(|input| input.shape.first()).copied().unwrap_or(1);
            let draw = |seed| -> Result<Sample> {
                Ok(Sample { inputs: typical_inputs(None, &inputs, function, seed)?, n_rows })
            };
            return Ok(Self { runs: (0..RANDOM_RUNS).map(draw).collect::<Result<_>>()?, is_random: true });
        };
        let data = CalibrationData::read(path)?;
        let batches = data.batches(engine.signature())?;
        let run = |batch: Result<crate::calibrate::CalibrationBatch>| {
            batch.map(|batch| Sample { inputs: batch.inputs, n_rows: batch.n_samples })
        };
        Ok(Self { runs: batches.map(run).collect::<Result<_>>()?, is_random: false })
    }

    /// Whether nobody recorded them.
    pub(super) fn is_random(&self) -> bool {
        self.is_random
    }

    /// All runs.
    pub(super) fn all(&self) -> &[Sample] {
        &self.runs
    }

    /// How many samples all runs have.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.n_rows).sum()
    }

    /// So many samples, rounded up to whole runs, spread evenly over all.
    pub(super) fn some(&self, n_samples: usize) -> Vec<Sample> {
        let n_rows = self.runs.iter().map(|run| run.n_rows).max().unwrap_or(1).max(1);
        let n = n_samples.div_ceil(n_rows).clamp(1, self.runs.len().max(1));
        (0..n).filter_map(|idx| self.runs.get(idx * self.runs.len() / n)).cloned().collect()
    }
}
