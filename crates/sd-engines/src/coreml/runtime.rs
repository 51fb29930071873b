//! The few calls that are made of Core ML, as one trait: Apple's frameworks stand behind it, or in tests something else.

use std::path::{Path, PathBuf};

use host_tensor::HostTensor;

use super::options::CoreMlOptions;
use super::plan::PlannedOperation;

/// What Core ML says, or why it does not: in its own words.
pub(super) type Said<T> = Result<T, String>;

/// What compiles and executes models.
pub(super) trait Runtime: Send {
    /// A loaded model. It may move between threads, and is used by one at a time.
    type Model: Send;

    /// Refuses where there is no such thing.
    fn check(&self) -> Result<(), super::CoreMlError>;

    /// Which system this is, to the build: what one compiled, another may not read.
    fn system(&self) -> String;

    /// Compiles a package or model file; the result lies in a folder of the system's choice, and is the caller's.
    fn compile(&self, model: &Path) -> Said<PathBuf>;

    /// Loads a compiled model.
    fn load(&self, compiled: &Path, options: &CoreMlOptions) -> Said<Self::Model>;

    /// Inputs and outputs, as Core ML describes them, in any order.
    fn describe(&self, model: &Self::Model) -> Described;

    /// Runs a model once. Each output that is there is shown to `take`, which copies it: its buffer goes afterwards.
    fn predict(
        &self,
        model: &mut Self::Model,
        inputs: &[(&str, HostTensor)],
        outputs: &[&str],
        take: &mut dyn FnMut(&str, Buffer<'_>),
    ) -> Said<()>;

    /// Every operation of a compiled model with where it is to run.
    fn plan(&self, compiled: &Path, options: &CoreMlOptions) -> Said<Vec<PlannedOperation>>;
}

/// Inputs and outputs of a loaded model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) inputs: Vec<DescribedFeature>,
    pub(super) outputs: Vec<DescribedFeature>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescribedFeature {
    pub(super) name: String,
    /// None for what is no array.
    pub(super) array: Option<DescribedArray>,
}

/// What an array is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescribedArray {
    /// The number of its element type.
    pub(super) code: isize,
    /// Its default shape; empty where it is not known.
    pub(super) shape: Vec<isize>,
}

/// An output while Core ML holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer<'a> {
    /// The number of its element type.
    pub(super) code: isize,
    pub(super) shape: &'a [isize],
    /// In elements.
    pub(super) strides: &'a [isize],
    pub(super) bytes: &'a [u8],
}
