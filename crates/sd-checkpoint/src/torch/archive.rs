//! The form since version 1.6: a zip archive of a pickle and one file for each storage.

use bytes::Bytes;

use super::Storages;
use crate::pickle::Pickle;
use crate::zip::{self, Files};

/// Everything lies in one folder, which has the name of the file that was saved, and a slash.
pub(crate) fn folder_of(files: &Files) -> Option<String> {
    files.keys().find_map(|name| name.strip_suffix("data.pkl").filter(|folder| !folder.is_empty()).map(str::to_owned))
}

/// The pickle and the storages of an archive.
pub(crate) fn data_of(mut files: Files, folder: &str) -> Result<(Pickle, Storages), String> {
    let inside = |name: &str| files.get(&format!("{folder}{name}"))?.clone();
    if inside("byteorder").is_some_and(|order: Bytes| &order[..] != b"little") {
        return Err("its numbers are big-endian; save it on another machine".to_owned());
    }
    let pickled = inside("data.pkl").ok_or("data.pkl in it is compressed; unpack it, and save the model anew")?;
    let pickle = Pickle::read(&pickled).map_err(|e| format!("data.pkl cannot be read: {e}"))?;
    let data = format!("{folder}data/");
    files.retain(|name, _| name.starts_with(&data));
    let storage = |(name, bytes): (String, Option<Bytes>)| (name[data.len()..].to_owned(), bytes);
    Ok((pickle, Storages::new(files.into_iter().map(storage).collect())))
}

/// Reads the file of a `torch.save`.
pub(super) fn read(bytes: &Bytes) -> Result<(Pickle, Storages), String> {
    let files = zip::list(bytes).map_err(|e| format!("the archive is damaged or of another kind: {e}"))?;
    let Some(folder) = folder_of(&files) else {
        return Err("it is a zip archive, but none of PyTorch: it has no data.pkl".to_owned());
    };
    if files.contains_key(&format!("{folder}constants.pkl")) {
        return Err("it is a module of TorchScript, which is code: save its state_dict".to_owned());
    }
    data_of(files, &folder)
}
