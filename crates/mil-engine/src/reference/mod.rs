//! The reference engine: every operation by its definition.
//!
//! It is meant to be right first: arithmetic in `f32`, sums over many elements in `f64`, no fusion, no
//! reordering of operations. Matrix products go through the `gemm` crate and long loops over several
//! threads, so that models of real size are feasible.
//! It frees every intermediate after its last use and reads constants when they are first needed.
//!
//! ```
//! use host_tensor::{DType, HostTensor, Stop};
//! use mil::{FunctionBuilder, Opset, Type};
//! use mil_engine::reference::{Options, Reference};
//! use std::collections::BTreeMap;
//!
//! let mut b = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = b.input("x", Type::tensor(DType::F32, &[3]));
//! let mut e = b.emitter();
//! let y = e.op("relu", "y", [("x", x.into())])?;
//! let ops = e.into_ops();
//! let program = b.finish_program(ops, &[y]);
//!
//! let engine = Reference::compile(mil::validate(&program)?, Options::default())?;
//! let inputs = BTreeMap::from([("x".to_string(), HostTensor::from_f32([3], vec![-1.0, 0.0, 2.0]))]);
//! assert_eq!(engine.run(&inputs, &Stop::never())?["y"].to_f32_vec(), [0.0, 0.0, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
#[cfg(test)]
mod agreement;
mod attention;
mod broadcast;
mod call;
mod constants;
mod constexpr;
mod control_flow;
mod conv;
mod elementwise_binary;
mod elementwise_unary;
mod gather_scatter;
mod generation;
mod kernels;
mod layout;
mod linear_algebra;
mod normalization;
mod plan;
mod pool;
mod product;
mod quantization;
mod rearrange;
mod reduction;
mod resize;
mod run;
mod shape;
mod slice;
mod state;
#[cfg(test)]
mod testing;
mod value;
mod watch;
mod window;

pub(crate) use call::{axis, index};
pub(crate) use layout::{Odometer, strides_of};
pub(crate) use run::Run;
pub(crate) use slice::slice;
pub use state::States;
pub(crate) use value::Tensor;
pub use watch::{Cause, NonFinite};

use crate::EngineError;
use constants::Constants;
use host_tensor::{HostTensor, Stop};
use mil::{Function, TensorType, Type, Valid, ValueId};
use plan::Plan;
use std::collections::BTreeMap;

/// When results are rounded to the type that the program declares for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Only inputs, constants, decoded weights and outputs have their declared precision; everything
    /// between is `f32`, casts included.
    #[default]
    Boundary,
    /// Every result of every operation, as hardware that computes in half precision does; sums inside of
    /// an operation are still `f32` or wider.
    Declared,
}

/// How long decoded constants are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// Until their last use in a run: the least memory.
    #[default]
    PerRun,
    /// As long as the engine: the fastest for many runs, at four bytes a weight.
    Kept,
}

/// How a program is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// When results are rounded.
    pub rounding: Rounding,
    /// How long decoded constants are kept.
    pub weights: Weights,
    /// Most elements that one tensor may have; a larger one is an error.
    pub max_elements: usize,
    /// Most rounds of one `while_loop`; more are an error.
    pub max_rounds: usize,
}

impl Default for Options {
    /// Arithmetic in `f32`, weights decoded in every run, tensors of at most 2³² elements.
    fn default() -> Self {
        Self { rounding: Rounding::default(), weights: Weights::default(), max_elements: 1 << 32, max_rounds: 1 << 20 }
    }
}

impl Options {
    /// With this rounding.
    #[must_use]
    pub const fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// With constants kept this long.
    #[must_use]
    pub const fn with_weights(self, weights: Weights) -> Self {
        Self { weights, ..self }
    }

    /// With this limit to the elements of one tensor.
    #[must_use]
    pub const fn with_max_elements(self, max_elements: usize) -> Self {
        Self { max_elements, ..self }
    }

    /// With this limit to the rounds of one loop.
    #[must_use]
    pub const fn with_max_rounds(self, max_rounds: usize) -> Self {
        Self { max_rounds, ..self }
    }
}

/// A named tensor of a function's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// Element type and shape.
    pub ty: TensorType,
}

/// A function, ready to run any number of times.
#[derive(Debug)]
pub struct Reference {
    function: Function,
    plan: Plan,
    inputs: Vec<Feature>,
    outputs: Vec<Feature>,
    kept: Option<Constants>,
    options: Options,
}

impl Reference {
    /// Prepares the function `main`, or the only one.
    ///
    /// # Errors
    /// As [`Reference::compile_function`].
    pub fn compile(program: Valid<'_>, options: Options) -> Result<Self, EngineError> {
        match program.program().main() {
            Some(function) => Self::new(function, options),
            None => Err(no_function(program, "main")),
        }
    }

    /// Prepares the function of this name.
    ///
    /// # Errors
    /// When there is no such function, an operation is unknown, or an input or output is no tensor.
    pub fn compile_function(program: Valid<'_>, name: &str, options: Options) -> Result<Self, EngineError> {
        match program.program().functions.get(name) {
            Some(function) => Self::new(function, options),
            None => Err(no_function(program, name)),
        }
    }

    pub(crate) fn new(function: &Function, options: Options) -> Result<Self, EngineError> {
        let signature = |role, ids: &[ValueId]| -> Result<Vec<Feature>, EngineError> {
            let tensors = ids.iter().filter(|&&id| !matches!(function.ty(id), Type::State(_)));
            tensors.map(|&id| feature(function, role, id)).collect()
        };
        Ok(Self {
            plan: Plan::new(function)?,
            inputs: signature("input", &function.inputs)?,
            outputs: signature("output", &function.body.outputs)?,
            kept: (options.weights == Weights::Kept).then(|| Constants::new(function.values().len())),
            function: function.clone(),
            options,
        })
    }

    /// The function.
    pub(crate) fn function(&self) -> &Function {
        &self.function
    }

    /// Room for the constants of one run.
    pub(crate) fn new_constants(&self) -> Constants {
        Constants::new(self.function.values().len())
    }

    /// From now on, operations of the body free the given values, and the others none.
    pub(crate) fn free_as<'a>(&mut self, frees: impl Iterator<Item = (usize, &'a [ValueId])>) {
        self.plan.steps.iter_mut().for_each(|step| step.dying.clear());
        for (op, ids) in frees {
            self.plan.steps[op].dying = ids.to_vec();
        }
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

    /// Inputs in signature order; states are not among them.
    #[must_use]
    pub fn inputs(&self) -> &[Feature] {
        &self.inputs
    }

    /// Outputs in signature order.
    #[must_use]
    pub fn outputs(&self) -> &[Feature] {
        &self.outputs
    }

    /// The operation kinds that the engine executes, in no particular order.
    pub fn op_kinds() -> impl Iterator<Item = &'static str> {
        kernels::all().map(|k| k.kind).chain(plan::STRUCTURAL)
    }

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
    /// With [`Rounding::Declared`] that is where a program leaves the numbers that its types have, as it does on a
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
                per_run = Constants::new(self.function.values().len());
                &per_run
            }
        };
        let mut run = run::Run::new(self, constants, states, stop);
        if watched == Watched::Yes {
            run = run.watched();
        }
        let results = run.function(arguments)?;
        let named = self.outputs.iter().zip(results);
        let outputs = named.map(|(feature, t)| (feature.name.clone(), t.to_host(feature.ty.dtype))).collect();
        Ok((outputs, run.into_non_finite()))
    }

    /// The inputs as tensors, in signature order.
    pub(crate) fn arguments(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Vec<Tensor>, EngineError> {
        let expected = || self.inputs.iter().map(|f| f.name.clone()).collect();
        if let Some(name) = inputs.keys().find(|name| self.inputs.iter().all(|f| f.name != **name)) {
            return Err(EngineError::UnexpectedInput { name: name.clone(), expected: expected() });
        }
        let argument = |feature: &Feature| {
            let name = feature.name.clone();
            let Some(given) = inputs.get(&name) else {
                return Err(EngineError::MissingInput { name, expected: expected() });
            };
            if !plan::shape_agrees(given.shape(), &feature.ty) {
                let (declared, actual) = (feature.ty.to_string(), given.shape().to_vec());
                return Err(EngineError::InputShape { name, declared, actual });
            }
            Ok(Tensor::from_host(&given.cast(feature.ty.dtype)))
        };
        self.inputs.iter().map(argument).collect()
    }
}

/// Whether somebody looks for values that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Yes,
    No,
}

fn no_function(program: Valid<'_>, name: &str) -> EngineError {
    EngineError::NoFunction { name: name.into(), known: program.program().functions.keys().cloned().collect() }
}

fn feature(function: &Function, role: &'static str, id: ValueId) -> Result<Feature, EngineError> {
    let name = function.name_of(id).to_string();
    match function.ty(id) {
        Type::Tensor(ty) => Ok(Feature { name, ty: ty.clone() }),
        other => Err(EngineError::BoundaryType { role, name, ty: other.to_string() }),
    }
}

#[cfg(test)]
mod tests;
