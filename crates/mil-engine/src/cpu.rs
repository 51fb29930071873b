//! The fast engine: a program is planned once and then run any number of times.
//!
//! Planning fuses what belongs together, gives every tensor a place in one arena and a layout that suits the kernels,
//! and leaves weights as they are stored. What no kernel knows the reference engine executes, so everything that it
//! accepts runs here too. Arithmetic is in `f32`, products at the [`Precision`] that is asked for; results do not depend on the
//! number of threads, but differ between instruction sets in the last digits.
//!
//! ```
//! use host_tensor::{DType, HostTensor, Stop};
//! use mil::{FunctionBuilder, Opset, Type};
//! use mil_engine::cpu::{Cpu, Options};
//! use std::collections::BTreeMap;
//!
//! let mut b = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = b.input("x", Type::tensor(DType::F32, &[3]));
//! let mut e = b.emitter();
//! let y = e.op("relu", "y", [("x", x.into())])?;
//! let ops = e.into_ops();
//! let program = b.finish_program(ops, &[y]);
//!
//! let engine = Cpu::compile(mil::validate(&program)?, Options::default())?;
//! let inputs = BTreeMap::from([("x".to_string(), HostTensor::from_f32([3], vec![-1.0, 0.0, 2.0]))]);
//! assert_eq!(engine.run(&inputs, &Stop::never())?["y"].to_f32_vec(), [0.0, 0.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bands;
mod body;
mod execute;
mod graph;
mod memory;
mod options;
mod plan;
mod precision;
mod recognize;
mod run;
mod steady;
mod step;
mod stored;
mod summary;
mod threads;
mod view;

pub use bands::Bands;
pub use options::{Options, WeightForm};
pub use precision::{Precision, UnknownPrecision};
pub use summary::{PlanSummary, Profile, StepSummary};

use crate::{
    EngineError, Isa,
    kernel::{Kernels, kernels},
    reference::{Feature, Reference, States},
};
use body::Body;
use execute::Executor;
use host_tensor::{HostTensor, Stop};
use memory::Arena;
use mil::Valid;
use plan::{Planned, Planner};
use run::{Ports, Running};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use steady::{Kept, Steady};
use threads::Threads;

/// A function, planned.
#[derive(Debug)]
pub struct Cpu {
    reference: Reference,
    planned: Planned,
    isa: Isa,
    precision: Precision,
    kernels: &'static Kernels,
    threads: Threads,
    scratch: Arena,
    /// What a run leaves for the next. Runs come one after another, for they share the arena.
    kept: Mutex<Option<Kept>>,
}

impl Cpu {
    /// Plans the function `main`, or the only one.
    ///
    /// # Errors
    /// As [`Reference::compile`]; and when there is no memory, or a plan does not hold together.
    pub fn compile(program: Valid<'_>, options: Options) -> Result<Self, EngineError> {
        Self::new(Reference::compile(program, options.limits)?, options)
    }

    /// Plans the function of this name.
    ///
    /// # Errors
    /// As [`Reference::compile_function`], and as [`Cpu::compile`].
    pub fn compile_function(program: Valid<'_>, name: &str, options: Options) -> Result<Self, EngineError> {
        Self::new(Reference::compile_function(program, name, options.limits)?, options)
    }

    /// Plans a function that no program holds and nobody has validated.
    pub(crate) fn compile_alone(function: &mil::Function, options: Options) -> Result<Self, EngineError> {
        Self::new(Reference::new(function, options.limits)?, options)
    }

    fn new(mut reference: Reference, options: Options) -> Result<Self, EngineError> {
        let isa = options.isa.unwrap_or_else(Isa::best);
        let threads = Threads::new(options.threads);
        let options = Options { threads: Some(threads.count()), ..options };
        let mut planned = plan(&reference, &options)?;
        if planned.kept_bytes > steady::MOST_BYTES {
            planned = plan(&reference, &Options { steady: Vec::new(), ..options.clone() })?;
        }
        reference.free_as(planned.steps.iter().filter_map(step::Step::reference));
        let floats = threads.count().saturating_mul(threads::pitch(planned.scratch));
        let scratch = Arena::new(floats).map_err(|_| EngineError::OutOfMemory { bytes: floats.saturating_mul(4) })?;
        let (kernels, precision) = (kernels(isa), options.precision);
        Ok(Self { reference, planned, isa, precision, kernels, threads, scratch, kept: Mutex::new(None) })
    }

    /// Inputs in signature order; states are not among them.
    #[must_use]
    pub fn inputs(&self) -> &[Feature] {
        self.reference.inputs()
    }

    /// Outputs in signature order.
    #[must_use]
    pub fn outputs(&self) -> &[Feature] {
        self.reference.outputs()
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// All states of the function, filled with zeros.
    ///
    /// # Errors
    /// As [`Reference::new_states`].
    pub fn new_states(&self) -> Result<States, EngineError> {
        self.reference.new_states()
    }

    /// Runs the function once, until `stop` is set; states, where it has any, begin at zero and are lost.
    ///
    /// Whether to stop is asked between the items that an operation is cut into, which take milliseconds. A run waits
    /// for an earlier one on the same engine to end, and does not ask while it waits.
    ///
    /// # Errors
    /// As [`Reference::run`].
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
        self.run_as(inputs, states, stop, None)
    }

    /// Runs the function once, until `stop` is set, and tells how long each step took; steady ones that were not done
    /// took no time.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn profile(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        stop: &Stop,
    ) -> Result<(BTreeMap<String, HostTensor>, Profile), EngineError> {
        let mut seconds = Vec::with_capacity(self.planned.steps.len());
        let outputs = self.run_as(inputs, &mut self.new_states()?, stop, Some(&mut seconds))?;
        Ok((outputs, Profile { seconds }))
    }

    fn run_as(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        states: &mut States,
        stop: &Stop,
        seconds: Option<&mut Vec<f64>>,
    ) -> Result<BTreeMap<String, HostTensor>, EngineError> {
        // A run that panicked has left whole what it kept, or nothing: see `Running::steady`.
        let mut alone = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *alone;
        if stop.is_set() {
            return Err(EngineError::Stopped);
        }
        let executor = self.executor(stop);
        let running = Running { reference: &self.reference, planned: &self.planned, executor, stop, seconds };
        self.threads.install(|| running.run(inputs, states, kept))
    }

    /// Runs a function without states once, until `stop` is set, with inputs and outputs where the ports have them.
    fn run_ports(&self, ports: &mut dyn Ports, stop: &Stop) -> Result<(), EngineError> {
        let mut states = self.new_states()?;
        let _alone = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let executor = self.executor(stop);
        let running = Running { reference: &self.reference, planned: &self.planned, executor, stop, seconds: None };
        self.threads.install(|| running.run_ports(&mut states, ports))
    }

    /// What executes the plan's steps.
    fn executor<'a>(&'a self, stop: &'a Stop) -> Executor<'a> {
        Executor::new((self.kernels, self.precision), (&self.threads, &self.scratch), &self.planned, stop)
    }

    /// Bytes that the plan's results and its threads need while it lives.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let scratch = self.threads.count().saturating_mul(threads::pitch(self.planned.scratch));
        self.planned.arena_floats.saturating_add(scratch).saturating_mul(4).saturating_add(self.planned.kept_bytes)
    }

    /// The plan in words and numbers.
    #[must_use]
    pub fn summary(&self) -> PlanSummary {
        PlanSummary::new(&self.planned, (self.isa, self.precision), self.threads.count())
    }
}

fn plan(reference: &Reference, options: &Options) -> Result<Planned, EngineError> {
    let body = Body::new(reference.function());
    let mut nodes = recognize::recognize(&body);
    let steady = Steady::find(&body, &options.steady, &mut nodes);
    Planner::plan(&body, reference, nodes, steady, options)
}
