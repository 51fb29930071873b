//! What a model is given while it is analysed.

use sd_convert::verify::{Input, random_inputs};
use sha2::{Digest, Sha256};

use super::{Analysing, SAMPLES};
use crate::analyse::model::Model;
use crate::analysis::InputSource;
use crate::calibrate::{CalibrationBatch, CalibrationData};
use crate::error::Result;
use crate::package::is_large;

/// All that a model is given.
pub(super) struct Inputs {
    pub(super) source: InputSource,
    pub(super) batches: Vec<CalibrationBatch>,
    pub(super) n_samples: usize,
    /// Tells these inputs from others.
    pub(super) digest: String,
    pub(super) warnings: Vec<String>,
}

/// Digits of a digest that are kept.
const N_DIGITS: usize = 16;

impl Inputs {
    /// Samples of the calibration data, or random ones.
    pub(super) fn of(asked: &Analysing, model: &Model) -> Result<Self> {
        let rows = model.signature.inputs.iter().filter_map(|feature| feature.shape.dims()?.first().copied()).max();
        let rows = rows.unwrap_or(1).max(1);
        let n_samples = asked.samples.unwrap_or_else(|| if is_large(&model.function) { rows } else { SAMPLES });
        let mut warnings = Vec::new();
        let batches = match &asked.calibration {
            Some(path) => {
                let data = CalibrationData::read(path)?.evenly(n_samples);
                if asked.samples.is_some_and(|n| n > data.n_samples()) {
                    let there = data.n_samples();
                    warnings.push(format!("{} has {there} samples, and all of them are used", path.display()));
                }
                data.batches(&model.signature)?.collect::<Result<Vec<_>>>()?
            }
            None => {
                warnings.push(
                    "without --calibration the model is given random numbers, which no text and no half-denoised picture \
                     looks like; smelt calibrate records what it is given in real runs"
                        .to_owned(),
                );
                random(asked, model, n_samples.div_ceil(rows), rows)?
            }
        };
        let source = if asked.calibration.is_some() { InputSource::Calibration } else { InputSource::Random };
        let n_samples = batches.iter().map(|batch| batch.n_samples).sum();
        let digest = digest(&batches);
        Ok(Self { source, batches, n_samples, digest, warnings })
    }
}

fn random(asked: &Analysing, model: &Model, n: usize, rows: usize) -> Result<Vec<CalibrationBatch>> {
    let inputs: Vec<Input> = model
        .signature
        .inputs
        .iter()
        .map(|f| Input { name: f.name.clone(), dtype: f.dtype, shape: f.shape.dims().unwrap_or_default().to_vec() })
        .collect();
    let batch = |i: usize| -> Result<CalibrationBatch> {
        let seed = asked.seed.wrapping_add(i as u64);
        Ok(CalibrationBatch { inputs: random_inputs(&inputs, Some(&model.function), seed)?, n_samples: rows })
    };
    (0..n).map(batch).collect()
}

fn digest(batches: &[CalibrationBatch]) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in batches.iter().flat_map(|batch| &batch.inputs) {
        hash.update(name.as_bytes());
        hash.update(tensor.bytes());
    }
    let mut digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(N_DIGITS);
    digits
}
