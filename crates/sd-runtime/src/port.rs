//! A model as its signature declares it: features by name, values to tensors and back, errors that say which model.

use host_tensor::{HostTensor, element_count};
use sd_spec::{Axis, Dims, FeatureSpec, Misfit, Presence, Role, Stage};

use crate::engine::{Feature, Signature, Tensors};
use crate::error::{Result, RuntimeError};
use crate::foreign;
use crate::models::Shelf;
use crate::part::Part;
use crate::watch::Watch;

/// Cap on the elements of one tensor that this crate allocates because a signature says so.
const MAX_ELEMENTS: usize = 1 << 28;

/// A model whose inputs are known to be of its role, and to be given.
pub(crate) struct Port {
    part: Part,
    signature: Signature,
}

impl Port {
    /// Checks that the model takes the inputs that every model of its role takes, and of those that only some take no
    /// others than `given`, by the role's name for them: each of the role's rank and of a sensible size.
    pub(crate) fn new(part: impl Into<Part>, signature: Signature, given: &[&str]) -> Result<Self> {
        let port = Self { part: part.into(), signature };
        port.always().try_for_each(|spec| port.input(spec.name).map(drop))?;
        if let Some(feature) = port.signature.inputs.iter().find(|f| !port.is_given(f, given)) {
            return Err(port.fault(format!(
                "needs input {} {}: {}",
                feature.name,
                feature.shape,
                foreign::by_input(feature)
            )));
        }
        for (FeatureSpec { axes, .. }, Feature { name, .. }) in port.known() {
            let (dims, rank) = (port.dims(name)?, axes.len());
            if dims.len() != rank {
                return Err(port.fault(format!("input {name} has shape {dims:?}, expected {rank} dimensions")));
            }
            if element_count(dims).is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
                return Err(port.fault(format!("input {name} of shape {dims:?} is empty or too large")));
            }
        }
        Ok(port)
    }

    /// The role that the model plays.
    pub(crate) const fn role(&self) -> Role {
        self.part.role
    }

    /// The inputs that every model of the role has.
    fn always(&self) -> impl Iterator<Item = &'static FeatureSpec> + use<> {
        self.role().spec().inputs.iter().filter(|feature| feature.presence == Presence::Always)
    }

    /// The inputs that the role knows, in the role's order: what they mean, and as the model declares them.
    fn known(&self) -> impl Iterator<Item = (&'static FeatureSpec, &Feature)> {
        let of = |spec: &'static FeatureSpec| {
            self.signature.inputs.iter().filter(|f| spec.is_named(&f.name)).map(move |f| (spec, f))
        };
        self.role().spec().inputs.iter().flat_map(of)
    }

    fn is_given(&self, feature: &Feature, given: &[&str]) -> bool {
        match self.role().spec().input(&feature.name) {
            Some(spec) => spec.presence == Presence::Always || given.contains(&spec.name),
            // What no model of the role has by itself.
            None => given.contains(&feature.name.as_str()),
        }
    }

    /// Whether the model takes an input of that name, or numbered ones that begin with it.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.known().any(|(spec, _)| spec.name == name)
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
        // Each numbered feature has sizes of its own.
        for (feature, _) in self.known().filter(|(feature, _)| feature.presence != Presence::Numbered) {
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

    /// Names of the inputs that are numbered, by their numbers.
    pub(crate) fn numbered_inputs(&self) -> Vec<&str> {
        numbered(self.role().spec().inputs, &self.signature.inputs)
    }

    /// Names of the outputs that are numbered, by their numbers.
    pub(crate) fn numbered_outputs(&self) -> Vec<&str> {
        numbered(self.role().spec().outputs, &self.signature.outputs)
    }

    /// Runs the part's model on tensors of all its inputs.
    pub(crate) fn call(&self, models: &mut Shelf, inputs: &Tensors, watch: &Watch<'_>) -> Result<Tensors> {
        models.run(self.part, inputs, watch)
    }

    /// Runs the model on values of all its inputs.
    pub(crate) fn run<'a>(
        &self,
        models: &mut Shelf,
        inputs: impl IntoIterator<Item = (&'a str, Vec<f32>)>,
        watch: &Watch<'_>,
    ) -> Result<Tensors> {
        let tensor = |(name, values): (&str, Vec<f32>)| Ok((name.to_owned(), self.tensor(name, values)?));
        let inputs = inputs.into_iter().map(tensor).collect::<Result<Tensors>>()?;
        self.call(models, &inputs, watch)
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
        if self.role().spec().stage == Stage::Denoise { foreign::chunk_hint(&self.signature) } else { "" }
    }

    pub(crate) fn fault(&self, reason: String) -> RuntimeError {
        RuntimeError::Signature { model: self.part.name(), reason }
    }
}

/// The number of an axis that a role's inputs have.
pub(crate) fn size(dims: &Dims, axis: Axis) -> usize {
    dims.get(axis).unwrap_or_default()
}

/// Features whose names are those of numbered ones, by their numbers.
fn numbered<'a>(specs: &[FeatureSpec], features: &'a [Feature]) -> Vec<&'a str> {
    let spec = specs.iter().find(|spec| spec.presence == Presence::Numbered);
    let of = |spec: &FeatureSpec| -> Vec<&'a str> {
        let number = |name: &str| name[spec.name.len()..].parse().unwrap_or(usize::MAX);
        let mut found: Vec<&str> = names(features).into_iter().filter(|name| spec.is_named(name)).collect();
        found.sort_by_key(|name| number(name));
        found
    };
    spec.map_or_else(Vec::new, of)
}

fn names(features: &[Feature]) -> Vec<&str> {
    features.iter().map(|feature| feature.name.as_str()).collect()
}
