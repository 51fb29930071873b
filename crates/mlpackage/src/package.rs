//! Opening and writing whole packages.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use coremltools_proto::{self as pb, Message};
use mil::Valid;

use crate::{
    atomic::{Existing, StagedDir},
    blob::{BlobFile, BlobWriter, map_file},
    decode::{self, WeightFiles, WeightSource},
    description::Description,
    encode::{self, WeightPlan},
    error::{Error, IoContext, ModelFault, model_error},
    flush::Flusher,
    manifest::{DATA_DIR, MANIFEST_FILE, Manifest},
    model::Model,
};

/// No protobuf message is larger than this.
const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;
/// Small pieces of the weight file are gathered up to this size; weights themselves pass by.
const BUFFER_BYTES: usize = 1 << 18;

/// A package that has been read; its weights lie in mapped files.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    manifest: Option<Manifest>,
    model: Model,
    model_bytes: u64,
    weight_files: BTreeMap<String, BlobFile>,
}

impl Package {
    /// Opens a `.mlpackage` directory, or a bare `.mlmodel` file whose program needs no weight file.
    ///
    /// The program is decoded, not validated: see [`mil::validate`].
    ///
    /// # Errors
    /// Any [`Error`] but those of writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.is_file() {
            let directory = path.parent().unwrap_or(path).to_path_buf();
            return Self::load(path, None, path, directory);
        }
        let manifest = Manifest::read(path)?;
        let model_file = manifest.locate(path, manifest.root())?;
        let directory = model_file.parent().unwrap_or(path).to_path_buf();
        Self::load(path, Some(manifest), &model_file, directory)
    }

    fn load(path: &Path, manifest: Option<Manifest>, model_file: &Path, directory: PathBuf) -> Result<Self, Error> {
        let model_bytes = fs::metadata(model_file).at("read", model_file)?.len();
        if model_bytes > MAX_MODEL_BYTES {
            let (path, n_bytes) = (model_file.to_path_buf(), model_bytes);
            return Err(Error::FileTooLarge { path, n_bytes, limit: MAX_MODEL_BYTES });
        }
        let mut weights = WeightFiles::new(WeightSource::Directory(directory));
        let model = decode::model(map_file(model_file)?, &mut weights)?;
        let weight_files = weights.into_files();
        Ok(Self { path: path.to_path_buf(), manifest, model, model_bytes, weight_files })
    }

    /// Where the package lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest; `None` for a bare model file.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, for whoever needs nothing else; its constants keep the weight files mapped.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }

    /// Size of the model file in bytes, weights not counted.
    #[must_use]
    pub fn model_bytes(&self) -> u64 {
        self.model_bytes
    }

    /// The weight files that the model refers to, by the names that it uses for them.
    #[must_use]
    pub fn weight_files(&self) -> &BTreeMap<String, BlobFile> {
        &self.weight_files
    }
}

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

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Size of the model file in bytes.
    pub model_bytes: u64,
    /// Size of all weight files in bytes.
    pub weight_bytes: u64,
    /// Number of tensors in weight files.
    pub n_blobs: usize,
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
    write_files(path.as_ref(), &model, &[weights], existing, progress)
}

/// Writes a package of several models that run one after another; `description` is the pipeline's own.
///
/// # Errors
/// As [`write()`].
pub fn write_pipeline(
    path: impl AsRef<Path>,
    stages: &[Stage<'_>],
    description: &Description,
    existing: Existing,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, Error> {
    let stages: Vec<_> = stages.iter().map(|s| (s.name, s.program.program(), s.description)).collect();
    let (model, weights) = encode::pipeline(&stages, description)?;
    write_files(path.as_ref(), &model, &weights, existing, &mut |at| {
        progress(at);
        ControlFlow::Continue(())
    })
}

fn write_files(
    path: &Path,
    model: &pb::Model,
    plans: &[WeightPlan<'_>],
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    let model_bytes = model.encoded_len() as u64;
    if model_bytes > MAX_MODEL_BYTES {
        return Err(model_error("model", ModelFault::ModelTooLarge(model_bytes)));
    }
    let staged = StagedDir::new(path, existing)?;
    let has_weights = plans.iter().any(|p| !p.is_empty());
    let manifest = Manifest::for_program(has_weights);
    let package = staged.path();
    let model_file = package.join(DATA_DIR).join(&manifest.root().path);
    let directory = model_file.parent().unwrap_or(&package);
    fs::create_dir_all(directory).at("create", directory)?;
    fs::write(&model_file, model.encode_to_vec()).at("write", &model_file)?;
    if let Some(item) = manifest.weights() {
        let weights = package.join(DATA_DIR).join(&item.path);
        fs::create_dir_all(&weights).at("create", &weights)?;
    }
    let mut report = Progress { written_bytes: 0, total_bytes: plans.iter().map(WeightPlan::n_data_bytes).sum() };
    for plan in plans.iter().filter(|p| !p.is_empty()) {
        write_weights(directory, plan, &mut |n| {
            report.written_bytes += n;
            progress(report)
        })?;
    }
    let manifest_file = package.join(MANIFEST_FILE);
    fs::write(&manifest_file, manifest.to_json()).at("write", &manifest_file)?;
    staged.commit()?;
    Ok(Written {
        model_bytes,
        weight_bytes: plans.iter().map(WeightPlan::n_bytes).sum(),
        n_blobs: plans.iter().map(WeightPlan::len).sum(),
    })
}

/// Writes one weight file below the directory of the model file.
fn write_weights(
    directory: &Path,
    plan: &WeightPlan<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(), Error> {
    let relative = plan.file().trim_start_matches("@model_path/");
    let path = directory.join(relative);
    let file = File::create_new(&path).at("create", &path)?;
    let mut flusher = Flusher::new(&file).at("flush", &path)?;
    let mut writer = BlobWriter::new(BufWriter::with_capacity(BUFFER_BYTES, file), path.display().to_string())?;
    plan.write(&mut writer, &mut |n| {
        flusher.wrote(n);
        progress(n)
    })?;
    writer.finish()?;
    flusher.finish().at("flush", &path)
}
