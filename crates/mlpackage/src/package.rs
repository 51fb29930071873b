//! Opening whole packages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    blob::{BlobFile, map_file},
    decode::{self, WeightFiles, WeightSource},
    error::{Error, IoContext},
    manifest::Manifest,
    model::Model,
};

/// No protobuf message is larger than this.
pub(crate) const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;

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
        let directory = Manifest::directory_of(path, manifest.root());
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
