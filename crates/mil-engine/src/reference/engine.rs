//! A function that is ready to run, and what it takes and gives.

use super::{
    constants::Constants,
    families,
    options::{Options, Weights},
    plan::{self, Plan},
    state::States,
    value::Tensor,
};
use crate::EngineError;
use host_tensor::HostTensor;
use mil::{Function, TensorType, Type, Valid, ValueId};
use std::collections::BTreeMap;

/// A named tensor of a function's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// Name.
    pub name: String,
    /// Element type and shape.
    pub ty: TensorType,
}

/// A function, ready to run any number of times.
#[derive(Debug)]
pub struct Reference {
    pub(super) function: Function,
    pub(super) plan: Plan,
    inputs: Vec<Feature>,
    outputs: Vec<Feature>,
    /// Decoded constants, where they are kept from run to run.
    pub(super) kept: Option<Constants>,
    pub(super) options: Options,
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

    /// Fresh states for [`Reference::run_with_states`], all zero.
    ///
    /// # Errors
    /// When a state has no fixed shape, or is larger than the limit.
    pub fn new_states(&self) -> Result<States, EngineError> {
        States::new(&self.function, self.options.max_elements)
    }

    /// The operation kinds that the engine executes, in no particular order.
    pub fn op_kinds() -> impl Iterator<Item = &'static str> {
        families::all().map(|k| k.kind).chain(plan::STRUCTURAL)
    }

    /// The inputs as tensors, in signature order.
    pub(crate) fn arguments(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Vec<Tensor>, EngineError> {
        let given = self.given(inputs)?;
        Ok(given.iter().zip(&self.inputs).map(|(given, f)| Tensor::from_host(&given.cast(f.ty.dtype))).collect())
    }

    /// The inputs in signature order, when they are those of the signature.
    pub(crate) fn given<'i>(
        &self,
        inputs: &'i BTreeMap<String, HostTensor>,
    ) -> Result<Vec<&'i HostTensor>, EngineError> {
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
            Ok(given)
        };
        self.inputs.iter().map(argument).collect()
    }
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
