//! Files that `torch.save` wrote (`.ckpt`, `.pt`, `.pth`, `.bin`): what is in them by key, without executing anything.
//!
//! Tensors are views of the mapped file. Since version 1.6 a file is a zip archive of one pickle and the tensors' bytes;
//! before, it was several pickles and the bytes behind them. What a pickle would call is compared with a list of functions
//! that only hold data, wherever in it the call stands; with any other the file is refused by its name.
//!
//! What it deliberately does not do: read modules of TorchScript, compressed archives, or big-endian numbers.

mod archive;
mod calls;
mod legacy;
mod storage;
mod tensor;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use safe_files::{FileKind, kind_of};

use crate::map::map_file;
use crate::pickle::Pickle;
use crate::{CheckpointError, Weight};

pub(crate) use archive::{data_of, folder_of};
pub(crate) use storage::Storages;
pub(crate) use tensor::tensor;

/// A file of PyTorch, by key: entries of dictionaries within dictionaries are joined by dots, those of lists are numbers.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    entries: BTreeMap<String, TorchEntry>,
    /// What every key of the state begins with.
    state: String,
}

/// What a key of a file of PyTorch stands for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TorchEntry {
    /// A tensor or a parameter.
    Tensor(Weight),
    /// A tensor that is not read, and why.
    Unread(String),
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// `None`.
    None,
    /// Something else, which is not looked into: the object of a class.
    Object(String),
}

/// Whether bytes are how a file of PyTorch begins.
#[must_use]
pub fn is_torch(bytes: &[u8]) -> bool {
    matches!(kind_of(bytes), Some(FileKind::Zip | FileKind::Pickle))
}

/// Reads a file of PyTorch.
///
/// # Errors
/// [`CheckpointError::Torch`] for one that is damaged, holds what is not read, or would call what is not in the list of
/// functions that hold data; [`CheckpointError::Read`] for what is no file of PyTorch.
pub fn read(path: &Path) -> Result<TorchFile, CheckpointError> {
    of_bytes(path, &map_file(path)?)
}

/// Reads a file that was mapped.
pub(crate) fn of_bytes(path: &Path, bytes: &Bytes) -> Result<TorchFile, CheckpointError> {
    let torch = |message: String| CheckpointError::Torch { path: path.to_owned(), message };
    let (pickle, storages) = match kind_of(bytes) {
        Some(FileKind::Zip) => archive::read(bytes).map_err(torch)?,
        Some(FileKind::Pickle) => legacy::read(bytes).map_err(torch)?,
        Some(kind) => return Err(safe_files::ReadError::Kind { path: path.to_owned(), kind }.into()),
        None => return Err(torch("it is no file of PyTorch".to_owned())),
    };
    let (entries, state) = entries_of(&pickle, &storages).map_err(torch)?;
    Ok(TorchFile { path: path.to_owned(), entries, state })
}

fn entries_of(pickle: &Pickle, storages: &Storages) -> Result<(BTreeMap<String, TorchEntry>, String), String> {
    calls::check(pickle)?;
    let entries = tree::entries(pickle.root(), storages)?;
    let mut state = tree::state(pickle.root());
    // Whoever trained on several devices saved it in a wrapper.
    const PARALLEL: &str = "module.";
    let is_tensor = |entry: &TorchEntry| matches!(entry, TorchEntry::Tensor(_) | TorchEntry::Unread(_));
    let parallel = format!("{state}{PARALLEL}");
    let mut tensors = entries.iter().filter(|(key, entry)| key.starts_with(&state) && is_tensor(entry)).peekable();
    if tensors.peek().is_some() && tensors.all(|(key, _)| key.starts_with(&parallel)) {
        state = parallel;
    }
    Ok((entries, state))
}

impl TorchFile {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in it, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &TorchEntry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// What a key stands for.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&TorchEntry> {
        self.entries.get(key)
    }

    /// What every key of the state begins with: `state_dict.` in a checkpoint of a training, nothing in a plain dictionary.
    #[must_use]
    pub fn state_prefix(&self) -> &str {
        &self.state
    }

    /// The tensors of the state, by their keys in it.
    ///
    /// # Errors
    /// [`CheckpointError::Torch`] for a tensor in it that is not read.
    pub fn state(&self) -> Result<impl Iterator<Item = (&str, &Weight)>, CheckpointError> {
        let state = || self.entries().filter_map(|(key, entry)| Some((key.strip_prefix(&self.state)?, entry)));
        let unread = state().find_map(|(key, entry)| match entry {
            TorchEntry::Unread(why) => Some(format!("tensor {key}: {why}")),
            _ => None,
        });
        match unread {
            Some(message) => Err(CheckpointError::Torch { path: self.path.clone(), message }),
            None => Ok(state().filter_map(|(key, entry)| match entry {
                TorchEntry::Tensor(weight) => Some((key, weight)),
                _ => None,
            })),
        }
    }
}
