//! Compressed packages: the compressor of `mil-compress` beside the writer of `mlpackage`.
//!
//! A program's weights go to the new package's weight file as they are compressed, so memory does not grow with the
//! model. Description and metadata stay as they are.

use crate::ConvertError;
use mil::{HostTensor, Program, validate};
use mil_compress::{Calibration, Memory, Outcome, Plan, RunError, Store, compress, compress_with};
use mlpackage::{Body, Description, Existing, Model, PackageWriter, SealedPackage, Stage, Written};
use std::{ops::ControlFlow, path::Path};

/// How far the compression of a package has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Elements of the weights that are compressed.
    pub done: u64,
    /// Elements of all weights that are to be.
    pub total: u64,
}

/// A package that is being written, as the place where compressed tensors go.
enum Packaged {
    Open(PackageWriter),
    Sealed(SealedPackage),
    Broken,
}

impl Store for Packaged {
    type Error = mlpackage::Error;

    fn put(&mut self, tensor: HostTensor) -> Result<(), mlpackage::Error> {
        match self {
            Self::Open(writer) => writer.store(&tensor),
            Self::Sealed(_) | Self::Broken => Err(mlpackage::Error::Stopped),
        }
    }

    fn take(&mut self) -> Result<Vec<HostTensor>, mlpackage::Error> {
        let Self::Open(writer) = std::mem::replace(self, Self::Broken) else { return Err(mlpackage::Error::Stopped) };
        let (sealed, tensors) = writer.seal()?;
        *self = Self::Sealed(sealed);
        Ok(tensors)
    }
}

/// How a compressed package is written.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// What happens when the package is there.
    pub existing: Existing,
    /// Whether the loss of every weight is to be known afterwards.
    pub measure: bool,
    /// A package whose weight file becomes this one's too, if both turn out to have the same bytes.
    pub first: Option<&'a Path>,
    /// What weights are multiplied by, where that is to decide their codes.
    pub calibration: Option<&'a dyn Calibration>,
}

/// Compresses a program by a plan that was made for it, and writes the package, whole or not at all.
///
/// `progress` may break off.
///
/// # Errors
/// [`ConvertError::Compress`] (stopped by `progress`, among others), [`ConvertError::Package`].
pub fn write_compressed(
    path: &Path,
    (program, description): (&Program, &Description),
    plan: &Plan,
    how: Writing<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Written, Outcome), ConvertError> {
    let mut store = Packaged::Open(PackageWriter::create(path, how.existing)?);
    let mut report = |at: mil_compress::Progress| progress(Progress { done: at.done, total: at.total });
    let compressed = match how.calibration {
        Some(calibration) => compress_with(program, plan, &mut store, (how.measure, calibration), &mut report),
        None => compress(program, plan, &mut store, how.measure, &mut report),
    };
    let (program, outcome) = compressed.map_err(|e| match e {
        RunError::Compress(e) => ConvertError::Compress(e),
        RunError::Store(e) => ConvertError::Package(e),
    })?;
    let Packaged::Sealed(mut sealed) = store else { return Err(mlpackage::Error::Stopped.into()) };
    if let Some(first) = how.first {
        sealed = sealed.sharing(first);
    }
    let valid = validate(&program).map_err(ConvertError::InvalidProgram)?;
    let total = plan.n_elements();
    let written = sealed.finish(valid, description, &mut |_| progress(Progress { done: total, total }))?;
    Ok((written, outcome))
}

/// Compresses a whole model, which may be a pipeline, as [`write_compressed`] does.
///
/// The weights of a pipeline are held in memory until it is written. `plans` has one plan per program of the model, in
/// order.
///
/// # Errors
/// As [`write_compressed`].
pub fn write_compressed_model(
    path: &Path,
    model: &Model,
    plans: &[Plan],
    how: Writing<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Written, Outcome), ConvertError> {
    let stages = match (&model.body, plans) {
        (Body::Program(program), [plan]) => {
            return write_compressed(path, (program, &model.description), plan, how, progress);
        }
        (Body::Pipeline(_), _) if how.calibration.is_some() => {
            return Err(ConvertError::Option("a pipeline cannot be calibrated: compress what it was cut from".into()));
        }
        (Body::Pipeline(stages), plans) if stages.len() == plans.len() => stages,
        _ => return Err(ConvertError::Option("a plan per program is needed".into())),
    };
    let total: u64 = plans.iter().map(Plan::n_elements).sum();
    let (mut done, mut all, mut programs) = (0, Outcome::default(), Vec::new());
    for (stage, plan) in stages.iter().zip(plans) {
        let Body::Program(program) = &stage.model.body else {
            return Err(ConvertError::Option(format!("{} is a pipeline inside of a pipeline", stage.name)));
        };
        let mut report = |at: mil_compress::Progress| progress(Progress { done: done + at.done, total });
        let (program, outcome) =
            compress(program, plan, &mut Memory::default(), how.measure, &mut report).map_err(|e| match e {
                RunError::Compress(e) => ConvertError::Compress(e),
                RunError::Store(never) => match never {},
            })?;
        done += plan.n_elements();
        all.compressed.extend(outcome.compressed);
        all.kept.extend(outcome.kept);
        programs.push(program);
    }
    let mut written = Vec::new();
    for (stage, program) in stages.iter().zip(&programs) {
        let program = validate(program).map_err(ConvertError::InvalidProgram)?;
        written.push(Stage { name: &stage.name, program, description: &stage.model.description });
    }
    let written = mlpackage::write_pipeline(path, &written, &model.description, how.existing, &mut |_| {
        progress(Progress { done: total, total })
    })?;
    Ok((written, all))
}
