//! Modules of TorchScript (`torch.jit.save`): zip archives of a pickle, tensors' bytes and code.
//!
//! The code, which is compressed, is never read, so only modules whose class says what they compute are of use.

use std::path::Path;

use host_tensor::HostTensor;

use crate::map::map_file;
use crate::pickle::{Item, Pickle};
use crate::{CheckpointError, torch, zip};

/// A module of TorchScript.
#[derive(Debug)]
pub(crate) struct Module {
    pickle: Pickle,
    storages: torch::Storages,
}

impl Module {
    /// Reads a file; none for one that is no module of TorchScript.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let bytes = map_file(path)?;
        if !bytes.starts_with(b"PK\x03\x04") {
            return Ok(None);
        }
        let damaged = |message: String| CheckpointError::Torch { path: path.to_owned(), message };
        let files = match zip::list(&bytes) {
            Ok(files) => files,
            // Of archives of other names it is said what they are, damaged or not.
            Err(_) if path.extension().is_none_or(|e| e != "pt" && e != "pth") => return Ok(None),
            Err(e) => return Err(damaged(format!("the archive is damaged or of another kind: {e}"))),
        };
        let Some(folder) = torch::folder_of(&files) else { return Ok(None) };
        // A file of torch.save has no code.
        let code = format!("{folder}code/");
        if !files.keys().any(|name| name.starts_with(&code)) {
            return Ok(None);
        }
        let (pickle, storages) = torch::data_of(files, &folder).map_err(damaged)?;
        Ok(Some(Self { pickle, storages }))
    }

    /// Its class and its attributes.
    pub(crate) fn root(&self) -> Item<'_> {
        self.pickle.root()
    }

    /// The tensor that a value refers to.
    ///
    /// # Errors
    /// In words, for what is none, or whose elements are no floats in order.
    pub(crate) fn tensor(&self, item: Item<'_>) -> Result<HostTensor, String> {
        let weight = torch::tensor(item, &self.storages)?;
        match weight.stored() {
            None => Err(format!("shape {:?} is not contiguous: save it as .contiguous()", weight.shape())),
            Some(tensor) if !tensor.dtype().is_float() => Err(format!("numbers of {} are not read", tensor.dtype())),
            Some(tensor) => Ok(tensor.clone()),
        }
    }
}
