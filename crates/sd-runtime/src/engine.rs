//! What a pipeline knows of a model: named tensors in, named tensors out.
//!
//! Who executes it (an interpreter, a GPU, Core ML) is decided elsewhere.

use std::collections::BTreeMap;

use host_tensor::{DType, HostTensor};

/// Tensors by feature name.
pub type Tensors = BTreeMap<String, HostTensor>;

/// Whatever an engine fails with.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Name, element type and shape of one input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// The feature's name in the model file.
    pub name: String,
    /// The declared element type.
    pub dtype: DType,
    /// The declared shape, outermost dimension first.
    pub shape: Vec<usize>,
}

impl Feature {
    /// A feature of the given name, type and shape.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), dtype, shape: shape.into() }
    }
}

/// A model's inputs and outputs, in the order that the model file lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// What the model takes.
    pub inputs: Vec<Feature>,
    /// What it gives.
    pub outputs: Vec<Feature>,
}

impl Signature {
    /// The input of that name.
    pub fn input(&self, name: &str) -> Option<&Feature> {
        self.inputs.iter().find(|feature| feature.name == name)
    }

    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&Feature> {
        self.outputs.iter().find(|feature| feature.name == name)
    }
}

/// A loaded model that can be run.
pub trait Engine {
    /// The model's inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Runs the model once.
    ///
    /// The caller gives every input of the signature, in its declared element type and shape; the engine returns every output.
    ///
    /// # Errors
    /// The engine's own, for inputs that do not fit or a failure while running.
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, EngineError>;
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn signature(&self) -> &Signature {
        (**self).signature()
    }

    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, EngineError> {
        (**self).run(inputs)
    }
}
