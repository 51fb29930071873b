//! The seam to whoever executes models: named tensors in, named tensors out.
//!
//! An [`Engine`] is one loaded model, a [`Loader`] makes engines by role, and a [`Residency`] says how long they live.
//! How a model is executed (an interpreter, a GPU, Core ML) is decided elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use host_tensor::{DType, HostTensor, Stop};

use crate::part::Part;

/// Tensors by feature name; cloning one shares its bytes.
pub type Tensors = BTreeMap<String, HostTensor>;

/// Whatever an engine or a loader fails with.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// The declared shape of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The model file does not say.
    Unknown,
    /// The dimensions, outermost first; none for a scalar.
    Known(Vec<usize>),
}

impl Shape {
    /// The dimensions, where they are known.
    #[must_use]
    pub fn dims(&self) -> Option<&[usize]> {
        match self {
            Self::Unknown => None,
            Self::Known(dims) => Some(dims),
        }
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self::Known(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self::Known(dims.to_vec())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::Known(dims.to_vec())
    }
}

impl From<Option<Vec<usize>>> for Shape {
    fn from(dims: Option<Vec<usize>>) -> Self {
        dims.map_or(Self::Unknown, Self::Known)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("of unknown shape"),
            Self::Known(dims) => write!(f, "{dims:?}"),
        }
    }
}

/// Name, element type and shape of one input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// The feature's name in the model file.
    pub name: String,
    /// The declared element type.
    pub dtype: DType,
    /// The declared shape.
    pub shape: Shape,
}

impl Feature {
    /// A feature of the given name, type and shape.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Shape>) -> Self {
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
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Feature> {
        self.inputs.iter().find(|feature| feature.name == name)
    }

    /// The output of that name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Feature> {
        self.outputs.iter().find(|feature| feature.name == name)
    }
}

/// A loaded model that can be run.
///
/// Engines of one process may run in several threads at once, each in its own.
pub trait Engine: Send {
    /// The model's inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Runs the model once.
    ///
    /// The caller gives every input of the signature, in its declared element type and shape; the engine returns every
    /// output. It asks `stop` as often as it can, and ends with an error of its own soon after the flag was set: whoever
    /// set it asks it too, and so takes the error for what it is.
    ///
    /// # Errors
    /// The engine's own, for inputs that do not fit, a failure while running, or a run that was stopped.
    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError>;
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn signature(&self) -> &Signature {
        (**self).signature()
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        (**self).run(inputs, stop)
    }
}

/// Makes the engines of a pipeline.
pub trait Loader: Send {
    /// The parts that it has a model for.
    fn parts(&self) -> &[Part];

    /// Whether it has a model for a part; those that it lists, unless it makes others of them.
    fn has(&self, part: Part) -> bool {
        self.parts().contains(&part)
    }

    /// Loads the model of a part that it has. With [`Residency::PerStage`] that is asked for again and again.
    ///
    /// # Errors
    /// The loader's own.
    fn load(&mut self, part: Part) -> Result<Box<dyn Engine>, EngineError>;

    /// The inputs and outputs of a part's model. Whoever knows them without loading the model says so here.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn signature(&mut self, part: Part) -> Result<Signature, EngineError> {
        Ok(self.load(part)?.signature().clone())
    }
}

/// How long the engines of a pipeline live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Residency {
    /// As long as the pipeline; those for one sample at a time from the first request on that needs them.
    #[default]
    Kept,
    /// While their stage runs, so that memory is that of the largest stage; each run loads them anew.
    PerStage,
}

/// A loader of parts that calls a function for each.
pub struct LoadWith<F> {
    parts: Vec<Part>,
    /// What it makes beside them: whatever those are for texts of several windows.
    lengthened: Vec<Part>,
    load: F,
}

impl<F> LoadWith<F>
where
    F: FnMut(Part) -> Result<Box<dyn Engine>, EngineError> + Send,
{
    /// Loads these parts by that function.
    pub fn new(parts: impl IntoIterator<Item = impl Into<Part>>, load: F) -> Self {
        Self { parts: parts.into_iter().map(Into::into).collect(), lengthened: Vec::new(), load }
    }

    /// Loads these for texts of several windows too, however many ([`Part::n_windows`]).
    #[must_use]
    pub fn lengthening(self, parts: impl IntoIterator<Item = Part>) -> Self {
        Self { lengthened: parts.into_iter().collect(), ..self }
    }
}

impl<F> fmt::Debug for LoadWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadWith").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl<F> Loader for LoadWith<F>
where
    F: FnMut(Part) -> Result<Box<dyn Engine>, EngineError> + Send,
{
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part) || (part.n_windows > 1 && self.lengthened.contains(&part.for_windows(1)))
    }

    fn load(&mut self, part: Part) -> Result<Box<dyn Engine>, EngineError> {
        (self.load)(part)
    }
}
