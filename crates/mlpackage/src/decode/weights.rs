//! The weight files that a model refers to, opened when they are first needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use mil::{BlobLocation, Bytes, Const, DType, HostTensor};

use crate::{
    blob::{BlobFile, map_file},
    error::{Error, ModelFault},
    manifest::{Outside, resolve_inside},
};

/// What a program's file names are relative to.
const MODEL_PATH: &str = "@model_path/";

/// Where weight files come from.
#[derive(Debug)]
pub(crate) enum WeightSource<'a> {
    /// A folder that no file lies outside of, and where in it the model file lies.
    Directory { root: PathBuf, below: PathBuf },
    /// Bytes by name; for checks of hostile input.
    #[cfg_attr(not(any(test, feature = "fuzz")), expect(dead_code, reason = "only such checks read from memory"))]
    Memory(&'a BTreeMap<String, Bytes>),
}

/// Opened weight files by the name that the program uses, and the offsets it refers to.
#[derive(Debug)]
pub(crate) struct WeightFiles<'a> {
    source: WeightSource<'a>,
    files: BTreeMap<String, (BlobFile, BTreeSet<u64>)>,
}

/// Why a weight cannot be had: the fault belongs to the place in the model, the error to the file.
pub(crate) enum WeightError {
    /// The model is wrong.
    Model(ModelFault),
    /// The weight file is wrong.
    File(Error),
}

impl<'a> WeightFiles<'a> {
    /// No file opened yet.
    pub(crate) fn new(source: WeightSource<'a>) -> Self {
        Self { source, files: BTreeMap::new() }
    }

    /// The constant of this type at `offset` of the file that the program calls `name`, still in the file.
    pub(crate) fn constant(
        &mut self,
        name: &str,
        offset: u64,
        dtype: DType,
        shape: &[usize],
        n_elements: usize,
    ) -> Result<Const, WeightError> {
        if !self.files.contains_key(name) {
            let file = self.open(name)?;
            self.files.insert(name.to_owned(), (file, BTreeSet::new()));
        }
        let (file, offsets) = self.files.get_mut(name).expect("invariant: inserted above");
        let blob = file.blob(offset).map_err(WeightError::File)?;
        let declared = || format!("{dtype} of shape {shape:?}");
        if blob.dtype != dtype {
            let found = format!("{} in the weight file", blob.dtype);
            return Err(WeightError::Model(ModelFault::TypeMismatch { declared: declared(), found }));
        }
        if blob.n_elements != n_elements {
            let (expected, actual) = (n_elements, blob.n_elements);
            return Err(WeightError::Model(ModelFault::Count { ty: declared(), expected, actual }));
        }
        offsets.insert(offset);
        let tensor = HostTensor::new(dtype, shape, blob.data)
            .map_err(|e| WeightError::Model(ModelFault::TooLarge(e.to_string())))?;
        let mut constant = Const::new(tensor);
        constant.location = Some(BlobLocation { file: name.into(), offset });
        Ok(constant)
    }

    /// Checks each file's blobs, as far as the model refers to them, against each other.
    pub(crate) fn check_disjoint(&self) -> Result<(), Error> {
        self.files.values().try_for_each(|(file, offsets)| file.check_disjoint(offsets.iter().copied()))
    }

    /// The files that were opened, by the names that the program uses.
    pub(crate) fn into_files(self) -> BTreeMap<String, BlobFile> {
        self.files.into_iter().map(|(name, (file, _))| (name, file)).collect()
    }

    fn open(&self, name: &str) -> Result<BlobFile, WeightError> {
        let refused = |reason| WeightError::Model(ModelFault::WeightPath { file: name.to_owned(), reason });
        let absent = || WeightError::Model(ModelFault::NoWeightFile(name.to_owned()));
        let relative = name.strip_prefix(MODEL_PATH).ok_or_else(|| refused("it does not begin with @model_path/"))?;
        let bytes = match &self.source {
            WeightSource::Memory(files) => files.get(name).cloned().ok_or_else(absent)?,
            WeightSource::Directory { root, below } => {
                let relative = beside(below, relative).ok_or_else(|| refused("it leads out of the model"))?;
                let path = resolve_inside(root, &relative).map_err(|outside| match outside {
                    Outside::Absent => absent(),
                    Outside::Refused(reason) => refused(reason),
                    Outside::Io(source) => {
                        WeightError::File(Error::Io { action: "resolve", path: root.join(relative), source })
                    }
                })?;
                map_file(&path).map_err(WeightError::File)?
            }
        };
        BlobFile::new(name, bytes).map_err(WeightError::File)
    }
}

/// The path of a file that is named `relative` to the folder `below`: models of a pipeline may share what lies beside
/// their folders, and say so by leading dots.
fn beside(below: &Path, relative: &str) -> Option<String> {
    let mut folders: Vec<&str> = below.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let mut relative = relative;
    while let Some(rest) = relative.strip_prefix("../") {
        folders.pop()?;
        relative = rest;
    }
    folders.push(relative);
    Some(folders.join("/"))
}
