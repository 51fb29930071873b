//! How the weights of a program are compressed: with or without knowing what they are multiplied by.

use crate::{Calibrated, Calibration, CompressError, PlannedWeight, encode, encode_with, select::Job};
use host_tensor::HostTensor;

/// How weights are compressed.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    /// Whether losses are to be known.
    pub(crate) measure: bool,
    /// What weights are multiplied by.
    pub(crate) calibration: Option<&'a dyn Calibration>,
}

impl Making<'_> {
    /// Weights that are compressed at a time, at most.
    pub(crate) fn n_workers(self) -> usize {
        if self.calibration.is_some() { 1 } else { rayon::current_num_threads() }
    }

    /// Compresses one weight; the inner error says why it is left as it is.
    pub(crate) fn encode(self, job: &Job, values: &HostTensor) -> Result<Result<Calibrated, String>, CompressError> {
        let statistics = match self.calibration {
            Some(calibration) => calibration.statistics(&PlannedWeight::of(&job.weight))?,
            None => None,
        };
        Ok(match statistics {
            Some(statistics) => encode_with(values, &job.scheme, job.axes, &statistics, self.measure),
            None => encode(values, &job.scheme, job.axes, self.measure).map(|(encoded, loss)| Calibrated {
                encoded,
                loss,
                is_calibrated: false,
            }),
        })
    }
}
