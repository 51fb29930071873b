//! One run of a plan.

use super::{
    execute::{Executor, read},
    plan::{Output, Planned},
    steady::Kept,
    step::Step,
};
use crate::{
    EngineError,
    reference::{Reference, Run, States},
};
use host_tensor::{HostTensor, Stop};
use std::{collections::BTreeMap, time::Instant};

/// A plan and what executes it, for one run.
pub(super) struct Running<'a> {
    pub(super) reference: &'a Reference,
    pub(super) planned: &'a Planned,
    pub(super) executor: Executor<'a>,
    pub(super) stop: &'a Stop,
    /// Where it is noted how long each step took, if that is wanted.
    pub(super) seconds: Option<&'a mut Vec<f64>>,
}

impl Running<'_> {
    /// Runs every step that is due.
    pub(super) fn run(
        mut self,
        inputs: &BTreeMap<String, HostTensor>,
        states: &mut States,
        kept: &mut Option<Kept>,
    ) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        let (reference, planned) = (self.reference, self.planned);
        let arguments = reference.arguments(inputs)?;
        let constants = reference.new_constants();
        let mut run = Run::new(reference, &constants, states, self.stop);
        run.begin(arguments);
        let (first, rest) = planned.steps.split_at(planned.n_steady);
        self.steady(first, inputs, &mut run, kept)?;
        self.execute_all(rest, &mut run)?;
        let mut outputs = BTreeMap::new();
        for (feature, output) in reference.outputs().iter().zip(&planned.outputs) {
            let tensor = match output {
                Output::Floats { start, view } => {
                    // SAFETY: the view is of the plan's own memory, which this run has for itself.
                    let values = unsafe { read(*start, view) };
                    HostTensor::from_f32(view.shape.clone(), values).cast(feature.ty.dtype)
                }
                Output::Tensor(id) => run.get(*id)?.to_host(feature.ty.dtype),
            };
            outputs.insert(feature.name.clone(), tensor);
        }
        Ok(outputs)
    }

    /// Does the steady steps, unless an earlier run has done them for the same inputs.
    fn steady(
        &mut self,
        steps: &[Step],
        inputs: &BTreeMap<String, HostTensor>,
        run: &mut Run<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<(), EngineError> {
        if steps.is_empty() {
            return Ok(());
        }
        let names = &self.planned.steady_inputs;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_for(names, inputs)) {
            kept.tensors.iter().for_each(|(id, tensor)| run.set(*id, tensor.clone()));
            if let Some(seconds) = &mut self.seconds {
                seconds.resize(steps.len(), 0.0);
            }
            return Ok(());
        }
        // Until all steps are done, there is nothing that a later run could rely on: this one may fail or be stopped.
        *kept = None;
        self.execute_all(steps, run)?;
        let tensor = |&id| Ok((id, run.get(id)?));
        let tensors = self.planned.kept_tensors.iter().map(tensor).collect::<Result<_, EngineError>>()?;
        *kept = Some(Kept::new(names, inputs, tensors));
        Ok(())
    }

    fn execute_all(&mut self, steps: &[Step], run: &mut Run<'_>) -> Result<(), EngineError> {
        for step in steps {
            let start = Instant::now();
            self.executor.execute(step, run)?;
            // A step that saw the request has left out items.
            if self.stop.is_set() {
                return Err(EngineError::Stopped);
            }
            if let Some(seconds) = &mut self.seconds {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }
}
