//! What running a module's forward pass on the capture device yields.

use burn::backend::capture::{CapturedGraph, TensorId};
use mil::DType;

use crate::parameters::ParameterPaths;

/// One declared input.
#[derive(Clone, Debug)]
pub(crate) struct InputSpec {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
}

/// A named boundary tensor of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Boundary {
    pub(crate) name: String,
    pub(crate) id: TensorId,
}

/// Everything that a recording yields.
pub(crate) struct Recording {
    pub(crate) graph: CapturedGraph,
    pub(crate) parameters: ParameterPaths,
    /// In the order of declaration.
    pub(crate) inputs: Vec<(InputSpec, TensorId)>,
    pub(crate) outputs: Vec<Boundary>,
}
