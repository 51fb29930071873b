//! Compiled models to packages, as they are: the weight file is the compiled model's own.
//!
//! A weight file keeps the order in which its weights were made, which is not always that of the program; where a program
//! has all its weights in one file, the package gets that very file.

use std::{ops::ControlFlow, path::Path};

use mil::{Const, HostTensor, validate};
use safe_files::{Existing, StagedDir};

use crate::{
    blob::{BlobFile, BlobPlan},
    encode::{self, WEIGHT_FILE},
    error::{CompiledFault, Error},
    link::link_or_copy,
    model::{Body, Model},
    package::Package,
    write::{Draft, Progress, Stage, Written, check_size, write_pipeline, write_until},
};

/// Writes the package that a compiled model was compiled from, whole or not at all: for what [`crate::compile()`] made of
/// a package of this crate's, its very bytes.
///
/// # Errors
/// [`Error::Exists`] when the package is there and `existing` refuses, [`Error::Compiled`] when its program is not valid,
/// [`Error::Stopped`] when `progress` breaks off, or [`Error::Io`].
pub fn repack(
    compiled: &Package,
    to: impl AsRef<Path>,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    let model = compiled.model();
    let invalid = |faults: &dyn std::fmt::Display| {
        let fault = CompiledFault::Unwritable(format!("a program that is not valid: {faults}"));
        Error::Compiled { path: compiled.path().to_path_buf(), fault }
    };
    match &model.body {
        Body::Program(program) => {
            let valid = validate(program).map_err(|faults| invalid(&faults))?;
            if let Some(written) = with_its_file(compiled, model, to.as_ref(), existing, progress)? {
                return Ok(written);
            }
            write_until(to, valid, &model.description, existing, progress)
        }
        Body::Pipeline(models) => {
            let mut stages = Vec::new();
            for part in models {
                let unwritable = || Error::Compiled {
                    path: compiled.path().to_path_buf(),
                    fault: CompiledFault::Unwritable("a pipeline inside of a pipeline".to_owned()),
                };
                let program = part.model.program().ok_or_else(unwritable)?;
                let program = validate(program).map_err(|faults| invalid(&faults))?;
                stages.push(Stage { name: &part.name, program, description: &part.model.description });
            }
            write_pipeline(to, &stages, &model.description, existing, progress)
        }
    }
}

/// The same with the compiled model's weight file, if that has all weights.
fn with_its_file(
    compiled: &Package,
    model: &Model,
    to: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Option<Written>, Error> {
    let files: Vec<_> = compiled.weight_files().iter().collect();
    let (Body::Program(program), [(name, file)]) = (&model.body, &files[..]) else { return Ok(None) };
    let Some(stored) = stored(file).filter(|_| *name == WEIGHT_FILE) else { return Ok(None) };
    let version = model.specification_version;
    let (bytes, plan) = encode::model_of_version(program, &model.description, &stored, version)?;
    if plan.len() != stored.len() {
        return Ok(None);
    }
    check_size(&bytes)?;
    let report = Progress { written_bytes: 0, total_bytes: file.n_bytes() };
    if progress(report).is_break() {
        return Err(Error::Stopped);
    }
    let plans = [plan];
    let draft = Draft::new(StagedDir::new(to, existing)?, &bytes, &plans)?;
    let weight_file = link_or_copy(&compiled.weight_path(name)?, &draft.weight_file(&plans[0]))?;
    if progress(Progress { written_bytes: file.n_bytes(), ..report }).is_break() {
        return Err(Error::Stopped);
    }
    draft.commit(weight_file).map(Some)
}

/// Every weight of a file with its place; none for a file that is not as such files are written.
fn stored(file: &BlobFile) -> Option<Vec<(BlobPlan, Const)>> {
    let blob = |offset: Result<u64, Error>| {
        let offset = offset.ok()?;
        let blob = file.blob(offset).ok()?;
        let plan = BlobPlan::after(offset, blob.dtype, blob.n_elements).ok()?;
        let tensor = HostTensor::new(blob.dtype, [blob.n_elements], blob.data).ok()?;
        Some((plan, Const::new(tensor)))
    };
    let all: Option<Vec<_>> = file.offsets().map(blob).collect();
    all.filter(|all| all.len() == file.count() as usize && !all.is_empty())
}
