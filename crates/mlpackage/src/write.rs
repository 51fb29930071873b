//! Writing whole packages from programs whose weights are there.

use std::{
    fs::File,
    io::BufWriter,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use mil::{HostTensor, Valid};
use safe_files::{Existing, Flusher, StagedDir};

use crate::{
    blob::{BlobPlan, BlobWriter},
    decode::MAX_MODEL_BYTES,
    description::Description,
    encode::{self, WeightPlan},
    error::{Error, IoContext, ModelFault, model_error},
    manifest::{DATA_DIR, MANIFEST_FILE, Manifest},
};

/// Small pieces of the weight file are gathered up to this size; weights themselves pass by.
const BUFFER_BYTES: usize = 1 << 18;
/// Tensors in memory are written in pieces of this size, between which a flush may begin.
const PIECE_BYTES: usize = 1 << 22;

/// One model of a pipeline to be written.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'p> {
    /// Name, unique in the pipeline.
    pub name: &'p str,
    /// Program.
    pub program: Valid<'p>,
    /// Description of the program.
    pub description: &'p Description,
}

/// How far the writing of weights has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of weights written.
    pub written_bytes: u64,
    /// Bytes of weights in all.
    pub total_bytes: u64,
}

/// How the weights of a package came to where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightFile {
    /// They were written.
    #[default]
    Written,
    /// The file is a hard link to that of another package: both take the space of one.
    Linked,
    /// The file is a copy of that of another package, whose file system cannot link the two.
    Copied,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Size of the model file in bytes.
    pub model_bytes: u64,
    /// Size of all weight files in bytes.
    pub weight_bytes: u64,
    /// Number of tensors in weight files.
    pub n_blobs: usize,
    /// How the weights got there.
    pub weight_file: WeightFile,
}

/// Writes a package, whole or not at all.
///
/// Weights are streamed from where they lie, in pieces of a few MiB; `progress` is called after each. The same program
/// and description give the same bytes.
///
/// # Errors
/// [`Error::Exists`] when the package is there and `existing` refuses, [`Error::Model`] when the description is not the
/// program's, [`Error::Io`]. Whatever was at `path` is then as it was.
pub fn write(
    path: impl AsRef<Path>,
    program: Valid<'_>,
    description: &Description,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, Error> {
    write_until(path, program, description, existing, &mut |at| {
        progress(at);
        ControlFlow::Continue(())
    })
}

/// Writes a package as [`write()`] does, unless `progress` breaks off: then nothing is left of it.
///
/// # Errors
/// As [`write()`], and [`Error::Stopped`].
pub fn write_until(
    path: impl AsRef<Path>,
    program: Valid<'_>,
    description: &Description,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    let (model, weights) = encode::model(program.program(), description)?;
    write_plans(path.as_ref(), model, &[weights], existing, progress)
}

/// Writes a package of several models that run one after another, unless `progress` breaks off; `description` is the
/// pipeline's own.
///
/// # Errors
/// As [`write_until`].
pub fn write_pipeline(
    path: impl AsRef<Path>,
    stages: &[Stage<'_>],
    description: &Description,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    let stages: Vec<_> = stages.iter().map(|s| (s.name, s.program.program(), s.description)).collect();
    let (model, weights) = encode::pipeline(&stages, description)?;
    write_plans(path.as_ref(), model, &weights, existing, progress)
}

/// What [`write()`] would write, to the byte; nothing is written, and no weight is read.
///
/// # Errors
/// [`Error::Model`] when the description is not the program's, or the model is larger than protobuf allows.
pub fn planned(program: Valid<'_>, description: &Description) -> Result<Written, Error> {
    let (model, weights) = encode::model(program.program(), description)?;
    check_size(&model)?;
    let (model_bytes, weight_bytes, n_blobs) = (model.len() as u64, weights.n_bytes(), weights.len());
    Ok(Written { model_bytes, weight_bytes, n_blobs, weight_file: WeightFile::Written })
}

/// Bytes of all files of the package that [`write_pipeline`] would write; nothing is written, and no weight is read.
///
/// # Errors
/// As [`planned`].
pub fn planned_pipeline(stages: &[Stage<'_>], description: &Description) -> Result<u64, Error> {
    let stages: Vec<_> = stages.iter().map(|s| (s.name, s.program.program(), s.description)).collect();
    let (model, weights) = encode::pipeline(&stages, description)?;
    check_size(&model)?;
    let manifest = Manifest::for_program(weights.iter().any(|p| !p.is_empty())).to_json();
    Ok((manifest.len() + model.len()) as u64 + weights.iter().map(WeightPlan::n_bytes).sum::<u64>())
}

fn write_plans(
    path: &Path,
    model: Vec<u8>,
    plans: &[WeightPlan<'_>],
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    check_size(&model)?;
    let draft = Draft::new(StagedDir::new(path, existing)?, &model, plans)?;
    drop(model);
    let mut report = Progress { written_bytes: 0, total_bytes: plans.iter().map(WeightPlan::n_data_bytes).sum() };
    for plan in plans.iter().filter(|p| !p.is_empty()) {
        let mut file = WeightOutput::create(&draft.staged, &draft.weight_file(plan))?;
        file.reserve(plan.n_bytes())?;
        file.write(plan, &mut |n| {
            report.written_bytes += n;
            progress(report)
        })?;
        file.finish()?;
    }
    draft.commit(WeightFile::Written)
}

/// Refuses a model that protobuf cannot hold, before anything is staged for it.
pub(crate) fn check_size(model: &[u8]) -> Result<(), Error> {
    match model.len() as u64 {
        n if n > MAX_MODEL_BYTES => Err(model_error("model", ModelFault::ModelTooLarge(n))),
        _ => Ok(()),
    }
}

/// A staged package that has everything but its weight files.
#[derive(Debug)]
pub(crate) struct Draft {
    staged: StagedDir,
    /// Where the model file lies.
    directory: PathBuf,
    written: Written,
}

impl Draft {
    /// Writes manifest and model; weight files get their directory.
    pub(crate) fn new(staged: StagedDir, model: &[u8], plans: &[WeightPlan<'_>]) -> Result<Self, Error> {
        let package = staged.path();
        let manifest = Manifest::for_program(plans.iter().any(|p| !p.is_empty()));
        let model_file = package.join(DATA_DIR).join(&manifest.root().path);
        let directory = model_file.parent().unwrap_or(&package).to_path_buf();
        staged.write(&model_file, model)?;
        if let Some(item) = manifest.weights() {
            staged.make_folder(&package.join(DATA_DIR).join(&item.path))?;
        }
        staged.write(&package.join(MANIFEST_FILE), manifest.to_json().as_bytes())?;
        let written = Written {
            model_bytes: model.len() as u64,
            weight_bytes: plans.iter().map(WeightPlan::n_bytes).sum(),
            n_blobs: plans.iter().map(WeightPlan::len).sum(),
            weight_file: WeightFile::Written,
        };
        Ok(Self { staged, directory, written })
    }

    /// Where the file of a plan belongs.
    pub(crate) fn weight_file(&self, plan: &WeightPlan<'_>) -> PathBuf {
        self.directory.join(plan.file().trim_start_matches("@model_path/"))
    }

    /// Moves the package to its place.
    pub(crate) fn commit(self, weight_file: WeightFile) -> Result<Written, Error> {
        self.staged.commit()?;
        Ok(Written { weight_file, ..self.written })
    }
}

/// A weight file that is being written, and flushed while it grows.
#[derive(Debug)]
pub(crate) struct WeightOutput {
    path: PathBuf,
    pub(crate) blobs: BlobWriter<BufWriter<File>>,
    pub(crate) flusher: Flusher,
}

impl WeightOutput {
    /// Begins a file that is not there yet.
    pub(crate) fn create(staged: &StagedDir, path: &Path) -> Result<Self, Error> {
        let file = staged.create(path)?;
        let flusher = Flusher::new(&file).at("flush", path)?;
        let blobs = BlobWriter::new(BufWriter::with_capacity(BUFFER_BYTES, file), path.display().to_string())?;
        Ok(Self { path: path.to_path_buf(), blobs, flusher })
    }

    /// Sets aside the space that the whole file takes, where that can be done.
    fn reserve(&self, n_bytes: u64) -> Result<(), Error> {
        safe_files::reserve(self.blobs.get_ref().get_ref(), n_bytes).at("write", &self.path)
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one tensor, of a type that weight files hold.
    pub(crate) fn append(&mut self, tensor: &HostTensor) -> Result<BlobPlan, Error> {
        let mut sink = self.blobs.begin(tensor.dtype(), tensor.len())?;
        let plan = sink.plan();
        for piece in tensor.bytes().chunks(PIECE_BYTES) {
            sink.write(piece)?;
            self.flusher.wrote(piece.len() as u64);
        }
        sink.finish()?;
        Ok(plan)
    }

    /// Writes what of the plan is not in the file yet.
    pub(crate) fn write(
        &mut self,
        plan: &WeightPlan<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        plan.write(&mut self.blobs, &mut |n| {
            self.flusher.wrote(n);
            progress(n)
        })
    }

    /// Completes the file and closes it.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.blobs.finish()?;
        self.flusher.finish().at("flush", &self.path)
    }
}
