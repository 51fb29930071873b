//! A model as its signature declares it: features by name, values to tensors and back, errors that say which model.

use host_tensor::{HostTensor, element_count};
use sd_spec::{Axis, Dims, FeatureSpec, Misfit, Presence, Role, Stage};

use crate::engine::{Feature, Signature, Tensors};
use crate::error::{Result, RuntimeError};
use crate::foreign;
use crate::models::{Shelf, name_of};
use crate::watch::Watch;

/// Cap on the elements of one tensor that this crate allocates because a signature says so.
const MAX_ELEMENTS: usize = 1 << 28;

/// A model whose inputs are known to be exactly those of its role.
pub(crate) struct Port {
    role: Role,
    signature: Signature,
}

impl Port {
    /// Checks that the model takes the inputs that every model of its role takes, and no others: each of the role's rank
    /// and of a sensible size.
    pub(crate) fn new(role: Role, signature: Signature) -> Result<Self> {
        let port = Self { role, signature };
        for FeatureSpec { name, axes, .. } in always(role) {
            let (dims, rank) = (port.dims(name)?, axes.len());
            if dims.len() != rank {
                return Err(port.fault(format!("input {name} has shape {dims:?}, expected {rank} dimensions")));
            }
            if element_count(dims).is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
                return Err(port.fault(format!("input {name} of shape {dims:?} is empty or too large")));
            }
        }
        let unknown = port.signature.inputs.iter().find(|f| always(role).all(|spec| spec.name != f.name));
        match unknown {
            None => Ok(port),
            Some(feature) => Err(port.fault(format!(
                "needs input {} {}: {}",
                feature.name,
                feature.shape,
                foreign::by_input(feature)
            ))),
        }
    }

    fn input(&self, name: &str) -> Result<&Feature> {
        self.signature.input(name).ok_or_else(|| {
            let inputs = names(&self.signature.inputs);
            self.fault(format!("has no input {name}, only {inputs:?}{}", self.chunk_hint()))
        })
    }

    /// The shape of an input.
    pub(crate) fn dims(&self, name: &str) -> Result<&[usize]> {
        let dims = self.input(name)?.shape.dims();
        dims.ok_or_else(|| self.fault(format!("input {name} is of unknown shape; the model file must say one")))
    }

    /// Checks that the model gives an output of that name; the shape may be unknown.
    pub(crate) fn expect_output(&self, name: &str) -> Result<()> {
        let outputs = &self.signature.outputs;
        match outputs.iter().any(|output| output.name == name) {
            true => Ok(()),
            false => Err(self.fault(format!("has no output {name}, only {:?}{}", names(outputs), self.chunk_hint()))),
        }
    }

    /// The shape of an output, if it is known.
    pub(crate) fn output_dims(&self, name: &str) -> Option<&[usize]> {
        self.signature.output(name)?.shape.dims()
    }

    /// Adds what the shapes of all inputs say to the numbers that are known.
    ///
    /// # Errors
    /// `fault` of the input whose shape contradicts them, and how.
    pub(crate) fn learn(
        &self,
        dims: &mut Dims,
        fault: impl Fn(&'static str, &[usize], Misfit) -> String,
    ) -> Result<()> {
        for feature in always(self.role) {
            let shape = self.dims(feature.name)?;
            dims.learn(feature, shape).map_err(|misfit| self.fault(fault(feature.name, shape, misfit)))?;
        }
        Ok(())
    }

    /// An input's values in its declared type and shape.
    pub(crate) fn tensor(&self, name: &str, values: Vec<f32>) -> Result<HostTensor> {
        let (dtype, dims) = (self.input(name)?.dtype, self.dims(name)?);
        match element_count(dims) == Some(values.len()) {
            true => Ok(HostTensor::from_f32(dims, values).cast(dtype)),
            false => Err(self.fault(format!("input {name} of shape {dims:?} was given {} values", values.len()))),
        }
    }

    /// Runs the model on values of all its inputs.
    pub(crate) fn run<const N: usize>(
        &self,
        models: &mut Shelf,
        inputs: [(&str, Vec<f32>); N],
        watch: &Watch<'_>,
    ) -> Result<Tensors> {
        let tensor = |(name, values): (&str, _)| Ok((name.to_owned(), self.tensor(name, values)?));
        let inputs = inputs.into_iter().map(tensor).collect::<Result<Tensors>>()?;
        models.run(self.role, &inputs, watch)
    }

    /// Takes an output that must have been given.
    pub(crate) fn take(&self, outputs: &mut Tensors, name: &str) -> Result<HostTensor> {
        let given = outputs.remove(name);
        given.ok_or_else(|| self.fault(format!("gave no output {name}, only {:?}", outputs.keys())))
    }

    /// Takes an output that must have `n` elements.
    pub(crate) fn take_values(&self, outputs: &mut Tensors, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.take(outputs, name)?;
        match tensor.len() == n {
            true => Ok(tensor.to_f32_vec()),
            false => Err(self.fault(format!("output {name} has shape {:?}, expected {n} elements", tensor.shape()))),
        }
    }

    /// Only denoisers are cut.
    fn chunk_hint(&self) -> &'static str {
        if self.role.spec().stage == Stage::Denoise { foreign::chunk_hint(&self.signature) } else { "" }
    }

    pub(crate) fn fault(&self, reason: String) -> RuntimeError {
        RuntimeError::Signature { model: name_of(self.role), reason }
    }
}

/// The inputs that every model of a role has.
fn always(role: Role) -> impl Iterator<Item = &'static FeatureSpec> {
    role.spec().inputs.iter().filter(|feature| feature.presence == Presence::Always)
}

/// The number of an axis that a role's inputs have.
pub(crate) fn size(dims: &Dims, axis: Axis) -> usize {
    dims.get(axis).unwrap_or_default()
}

fn names(features: &[Feature]) -> Vec<&str> {
    features.iter().map(|feature| feature.name.as_str()).collect()
}
