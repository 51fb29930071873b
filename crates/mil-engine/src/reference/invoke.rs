//! Whole runs: from named inputs to named outputs.

use super::{engine::Reference, run::Run, state::States, watch::NonFinite};
use crate::EngineError;
use host_tensor::{HostTensor, Stop};
use mil::ValueId;
use std::collections::BTreeMap;

impl Reference {
    /// Runs the function once, until `stop` is set; states, where it has any, begin at zero and are lost.
    ///
    /// Inputs are converted to their declared element types; outputs come in theirs. Whether to stop is asked between
    /// operations, and within convolutions, attention and batches of products.
    ///
    /// # Errors
    /// When an input is missing, superfluous or of another shape than declared, when an operation cannot be executed,
    /// and [`EngineError::Stopped`].
    pub fn run(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        stop: &Stop,
    ) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        self.run_with_states(inputs, &mut self.new_states()?, stop)
    }

    /// Runs the function once, until `stop` is set, reading and updating `states`, which a run that fails or is stopped
    /// may have updated in part.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn run_with_states(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        states: &mut States,
        stop: &Stop,
    ) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        Ok(self.run_as(inputs, states, stop, Watched::No)?.0)
    }

    /// Runs the function once as [`Reference::run`], and tells the first operation with results that are not finite
    /// although its computed operands are.
    ///
    /// With [`Rounding::Declared`](super::Rounding::Declared) that is where a program leaves the numbers that its types have, as it does on a
    /// device. Masks, infinite or as large as half precision allows, do not count.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn run_watched(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        stop: &Stop,
    ) -> Result<(BTreeMap<String, HostTensor>, Option<NonFinite>), EngineError> {
        self.run_as(inputs, &mut self.new_states()?, stop, Watched::Yes)
    }

    fn run_as(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        states: &mut States,
        stop: &Stop,
        watched: Watched,
    ) -> Result<(BTreeMap<String, HostTensor>, Option<NonFinite>), EngineError> {
        if stop.is_set() {
            return Err(EngineError::Stopped);
        }
        let arguments = self.arguments(inputs)?;
        let per_run;
        let constants = match &self.kept {
            Some(kept) => kept,
            None => {
                per_run = self.new_constants();
                &per_run
            }
        };
        let mut run = Run::new(self, constants, states, stop);
        if watched == Watched::Yes {
            run = run.watched();
        }
        let results = run.function(arguments)?;
        let named = self.outputs().iter().zip(results);
        let outputs = named.map(|(feature, t)| (feature.name.clone(), t.to_host(feature.ty.dtype))).collect();
        Ok((outputs, run.into_non_finite()))
    }

    /// A value that is decoded from constants, as `f32`.
    ///
    /// # Errors
    /// When it depends on anything else, or an operation cannot be executed.
    pub(crate) fn decode(&self, id: ValueId) -> Result<HostTensor, EngineError> {
        let (constants, mut states, stop) = (self.new_constants(), self.new_states()?, Stop::never());
        let mut run = Run::new(self, &constants, &mut states, &stop);
        run.decode(id)?;
        Ok(run.get(id)?.to_host(host_tensor::DType::F32))
    }
}

/// Whether somebody looks for values that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Yes,
    No,
}
