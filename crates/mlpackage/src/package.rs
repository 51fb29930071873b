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
    source: Option<Source>,
    model_bytes: u64,
    weight_files: BTreeMap<String, BlobFile>,
    /// The compiler that a compiled model names.
    compiler: Option<String>,
}

/// The model file of a package.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is, links followed.
    pub(crate) file: PathBuf,
    /// What the package calls it, without its ending.
    pub(crate) name: String,
    /// The folder that it lies in, by which it refers to weight files.
    pub(crate) directory: PathBuf,
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
            let source = Source { file: path.to_path_buf(), name: stem(path), directory };
            return Self::load(path, None, source);
        }
        if is_compiled(path) {
            let Compiled { model, text_bytes, weight_files, compiler } = compiled::open(path)?;
            let path = path.to_path_buf();
            return Ok(Self {
                path,
                manifest: None,
                model,
                source: None,
                model_bytes: text_bytes,
                weight_files,
                compiler,
            });
        }
        let manifest = Manifest::read(path)?;
        let source = Source {
            file: manifest.locate(path, manifest.root())?,
            name: stem(Path::new(&manifest.root().path)),
            directory: Manifest::directory_of(path, manifest.root()),
        };
        Self::load(path, Some(manifest), source)
    }

    fn load(path: &Path, manifest: Option<Manifest>, source: Source) -> Result<Self, Error> {
        let model_file = &source.file;
        let model_bytes = fs::metadata(model_file).at("read", model_file)?.len();
        if model_bytes > MAX_MODEL_BYTES {
            let (path, n_bytes) = (model_file.to_path_buf(), model_bytes);
            return Err(Error::FileTooLarge { path, n_bytes, limit: MAX_MODEL_BYTES });
        }
        let mut weights =
            WeightFiles::new(WeightSource::Directory { root: source.directory.clone(), below: PathBuf::new() });
        let model = decode::model(map_file(model_file)?, &mut weights)?;
        let weight_files = weights.into_files();
        let (path, source) = (path.to_path_buf(), Some(source));
        Ok(Self { path, manifest, model, source, model_bytes, weight_files, compiler: None })
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
        self.source.is_none()
    }

    /// Name and version of the compiler, `coremlc 3520.5.1`, as far as a compiled model names it.
    #[must_use]
    pub fn compiler(&self) -> Option<&str> {
        self.compiler.as_deref()
    }

    /// The model file, which a compiled model has not.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Where the weight file lies that the model calls so, links followed.
    pub(crate) fn weight_path(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.source.as_ref().map_or(&self.path, |source| &source.directory);
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

    /// Size of model and weights in bytes.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.model_bytes + self.weight_files.values().map(BlobFile::n_bytes).sum::<u64>()
    }

    /// The weight files that the model refers to, by the names that it uses for them.
    #[must_use]
    pub fn weight_files(&self) -> &BTreeMap<String, BlobFile> {
        &self.weight_files
    }
}

/// A file's name without its ending.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
