//! Opening whole packages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    blob::{BlobFile, map_file},
    compiled::{self, Compiled, is_compiled},
    decode::{self, MAX_MODEL_BYTES, WeightFiles, WeightSource},
    error::{Error, IoContext},
    manifest::Manifest,
    model::Model,
};

/// A package that has been read; its weights lie in mapped files.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    manifest: Option<Manifest>,
    model: Model,
    /// The model file; of a compiled model nothing.
    model_file: Option<PathBuf>,
    model_bytes: u64,
    weight_files: BTreeMap<String, BlobFile>,
    /// The compiler that a compiled model names.
    compiler: Option<String>,
}

impl Package {
    /// Opens a `.mlpackage` directory, a compiled model (`.mlmodelc`), or a bare `.mlmodel` file, whose weights lie
    /// beside it.
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
        if is_compiled(path) {
            let Compiled { model, text_bytes, weight_files, compiler } = compiled::open(path)?;
            let path = path.to_path_buf();
            return Ok(Self {
                path,
                manifest: None,
                model,
                model_file: None,
                model_bytes: text_bytes,
                weight_files,
                compiler,
            });
        }
        let manifest = Manifest::read(path)?;
        let model_file = manifest.locate(path, manifest.root())?;
        let directory = Manifest::directory_of(path, manifest.root());
        Self::load(path, Some(manifest), &model_file, directory)
    }

    fn load(path: &Path, manifest: Option<Manifest>, model_file: &Path, directory: PathBuf) -> Result<Self, Error> {
        let model_bytes = fs::metadata(model_file).at("read", model_file)?.len();
        if model_bytes > MAX_MODEL_BYTES {
            let (path, n_bytes) = (model_file.to_path_buf(), model_bytes);
            return Err(Error::FileTooLarge { path, n_bytes, limit: MAX_MODEL_BYTES });
        }
        let mut weights = WeightFiles::new(WeightSource::Directory { root: directory, below: PathBuf::new() });
        let model = decode::model(map_file(model_file)?, &mut weights)?;
        let weight_files = weights.into_files();
        let (path, model_file) = (path.to_path_buf(), Some(model_file.to_path_buf()));
        Ok(Self { path, manifest, model, model_file, model_bytes, weight_files, compiler: None })
    }

    /// Where the package lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest; `None` for a bare model file and for a compiled model.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Whether this is a compiled model, and not the package that one is compiled from.
    #[must_use]
    pub fn is_compiled(&self) -> bool {
        self.model_file.is_none()
    }

    /// Name and version of the compiler, `coremlc 3520.5.1`, as far as a compiled model names it.
    #[must_use]
    pub fn compiler(&self) -> Option<&str> {
        self.compiler.as_deref()
    }

    /// The model file; a compiled model has none.
    pub(crate) fn model_file(&self) -> Option<&Path> {
        self.model_file.as_deref()
    }

    /// Where the weight file lies that the model calls so, links followed.
    pub(crate) fn weight_path(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.model_file.as_deref().and_then(Path::parent).unwrap_or(&self.path);
        let path = folder.join(name.trim_start_matches("@model_path/"));
        path.canonicalize().at("resolve", &path)
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

    /// Size of the model file, or of a compiled model's program, in bytes; weights not counted.
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
