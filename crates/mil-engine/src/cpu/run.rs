//! One run of a plan.

use super::{
    execute::{Executor, read},
    plan::{Output, Planned},
    steady::Kept,
    step::{Action, Step},
    view::{View, row_major},
};
use crate::{
    EngineError,
    reference::{Reference, Run, States, Tensor},
};
use host_tensor::{HostTensor, Stop};
use std::{collections::BTreeMap, marker::PhantomData, time::Instant};

/// Where a run has its inputs from and leaves its outputs, by their places in the signature: floats in the plan's own
/// memory, so that nothing is held twice.
pub(super) trait Ports: Send {
    /// An input as a tensor; `None` for one that is filled in.
    fn tensor(&mut self, input: usize) -> Option<HostTensor>;
    /// Fills an input in, row-major.
    fn fill(&mut self, input: usize, to: &mut [f32]);
    /// Takes an output.
    fn take(&mut self, output: usize, floats: &Floats<'_>);
    /// Takes an output that is no float of the plan's.
    fn take_tensor(&mut self, output: usize, tensor: HostTensor);
}

/// A result where it lies.
#[derive(Debug)]
pub(super) struct Floats<'a> {
    start: *const f32,
    view: View,
    of: PhantomData<&'a [f32]>,
}

// SAFETY: it is only read, as a slice would be.
unsafe impl Sync for Floats<'_> {}

impl<'a> Floats<'a> {
    /// Values in row-major order; as many as the shape says.
    pub(super) fn of(values: &'a [f32], shape: &[usize]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "invariant: the shape is that of the values");
        let view = View { buffer: 0, offset: 0, shape: shape.to_vec(), strides: row_major(shape) };
        Self { start: values.as_ptr(), view, of: PhantomData }
    }

    /// The shape.
    pub(super) fn shape(&self) -> &[usize] {
        &self.view.shape
    }

    /// All elements in row-major order.
    pub(super) fn to_vec(&self) -> Vec<f32> {
        // SAFETY: whoever made this had memory that holds the view.
        unsafe { read(self.start, &self.view) }
    }

    /// The elements of index `row` of dimension 1 of four, in row-major order: as many as fit.
    pub(super) fn read_row(&self, row: usize, to: &mut [f32]) {
        let (&[_, rows, columns, channels], &[_, per_row, per_column, per_channel]) =
            (&self.view.shape[..], &self.view.strides[..])
        else {
            return;
        };
        if row >= rows {
            return;
        }
        for (column, to) in to.chunks_mut(channels.max(1)).enumerate().take(columns) {
            // SAFETY: whoever made this had memory that holds the view, and the indices are within its shape.
            unsafe {
                let from = self.start.add(row * per_row + column * per_column);
                if per_channel == 1 {
                    std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
                } else {
                    to.iter_mut().enumerate().for_each(|(channel, v)| *v = *from.add(channel * per_channel));
                }
            }
        }
    }
}

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

    /// Runs every step with inputs and outputs where the ports have them. Nothing is steady.
    pub(super) fn run_ports(self, states: &mut States, ports: &mut dyn Ports) -> Result<(), EngineError> {
        let (reference, planned) = (self.reference, self.planned);
        let constants = reference.new_constants();
        let mut run = Run::new(reference, &constants, states, self.stop);
        let inputs = &reference.function().inputs;
        for (input, &id) in inputs.iter().enumerate() {
            if let Some(tensor) = ports.tensor(input) {
                run.set(id, Tensor::from_host(&tensor));
            }
        }
        for step in &planned.steps {
            match &step.action {
                Action::Import { id, to, len } if run.get(*id).is_err() && inputs.contains(id) => {
                    let input = inputs.iter().position(|input| input == id).unwrap_or_default();
                    // SAFETY: the planner made room for as many floats, which this run has for itself.
                    ports.fill(input, unsafe { std::slice::from_raw_parts_mut(*to, *len) });
                }
                _ => self.executor.execute(step, &mut run)?,
            }
            if self.stop.is_set() {
                return Err(EngineError::Stopped);
            }
        }
        for (output, (feature, place)) in reference.outputs().iter().zip(&planned.outputs).enumerate() {
            match place {
                Output::Floats { start, view } => {
                    let floats = Floats { start: *start, view: view.clone(), of: PhantomData };
                    ports.take(output, &floats);
                }
                Output::Tensor(id) => ports.take_tensor(output, run.get(*id)?.to_host(feature.ty.dtype)),
            }
        }
        Ok(())
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
