//! An engine in its role: features by name, errors that say which model.

use host_tensor::{HostTensor, Stop, element_count};

use super::foreign;
use crate::engine::{Engine, Feature, Tensors};
use crate::error::{Result, RuntimeError};

/// Cap on the elements of one tensor that this crate allocates because a signature says so.
const MAX_ELEMENTS: usize = 1 << 28;

/// A model whose inputs are known to be exactly the expected ones.
pub(super) struct Model {
    role: &'static str,
    engine: Box<dyn Engine>,
}

impl Model {
    /// Checks that the model takes these inputs and no others, each of the given rank and of a sensible size.
    pub(super) fn new(role: &'static str, engine: Box<dyn Engine>, inputs: &[(&str, usize)]) -> Result<Self> {
        let model = Self { role, engine };
        for (name, rank) in inputs {
            let shape = model.input_dims(name)?;
            if shape.len() != *rank {
                return Err(model.fault(format!("input {name} has shape {shape:?}, expected {rank} dimensions")));
            }
            if element_count(shape).is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
                return Err(model.fault(format!("input {name} of shape {shape:?} is empty or too large")));
            }
        }
        let unknown = model.engine.signature().inputs.iter().find(|f| inputs.iter().all(|(name, _)| *name != f.name));
        match unknown {
            None => Ok(model),
            Some(feature) => Err(model.fault(format!(
                "needs input {} {}: {}",
                feature.name,
                feature.shape,
                foreign::by_input(feature)
            ))),
        }
    }

    pub(super) fn input(&self, name: &str) -> Result<&Feature> {
        let found = self.engine.signature().input(name);
        found.ok_or_else(|| {
            let inputs = names(&self.engine.signature().inputs);
            self.fault(format!("has no input {name}, only {inputs:?}{}", self.chunk_hint()))
        })
    }

    /// The shape of an input that the signature has.
    pub(super) fn input_dims(&self, name: &str) -> Result<&[usize]> {
        let dims = self.input(name)?.shape.dims();
        dims.ok_or_else(|| self.fault(format!("input {name} is of unknown shape; the model file must say one")))
    }

    /// Checks that the model gives an output of that name; the shape may be undeclared.
    pub(super) fn expect_output(&self, name: &str) -> Result<()> {
        let outputs = &self.engine.signature().outputs;
        match outputs.iter().any(|output| output.name == name) {
            true => Ok(()),
            false => Err(self.fault(format!("has no output {name}, only {:?}{}", names(outputs), self.chunk_hint()))),
        }
    }

    /// The declared shape of an output, if it is declared.
    pub(super) fn output_shape(&self, name: &str) -> Option<&[usize]> {
        self.engine.signature().output(name)?.shape.dims()
    }

    /// Runs the model on f32 values, given the declared type and shape of their input.
    pub(super) fn run(&mut self, inputs: Vec<(&str, Vec<f32>)>, stop: &Stop) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        for (name, values) in inputs {
            let (dtype, shape) = (self.input(name)?.dtype, self.input_dims(name)?);
            let n = element_count(shape).unwrap_or(usize::MAX);
            if values.len() != n {
                return Err(self.fault(format!("input {name} of shape {shape:?} was given {} values", values.len())));
            }
            let tensor = HostTensor::from_f32(shape, values).cast(dtype);
            tensors.insert(name.to_owned(), tensor);
        }
        self.engine.run(&tensors, stop).map_err(|source| RuntimeError::Engine { model: self.role, source })
    }

    /// Takes an output that must have been given.
    pub(super) fn take(&self, outputs: &mut Tensors, name: &str) -> Result<HostTensor> {
        let given = outputs.remove(name);
        given.ok_or_else(|| self.fault(format!("gave no output {name}, only {:?}", outputs.keys())))
    }

    /// Takes an output that must have `n` elements.
    pub(super) fn take_values(&self, outputs: &mut Tensors, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.take(outputs, name)?;
        match tensor.len() == n {
            true => Ok(tensor.to_f32_vec()),
            false => Err(self.fault(format!("output {name} has shape {:?}, expected {n} elements", tensor.shape()))),
        }
    }

    /// Only UNets are cut.
    fn chunk_hint(&self) -> &'static str {
        if self.role == "unet" { foreign::chunk_hint(self.engine.signature()) } else { "" }
    }

    pub(super) fn fault(&self, reason: String) -> RuntimeError {
        RuntimeError::Signature { model: self.role, reason }
    }
}

fn names(features: &[Feature]) -> Vec<&str> {
    features.iter().map(|feature| feature.name.as_str()).collect()
}
