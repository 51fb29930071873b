//! Reading the small files of a checkpoint, each with a cap on its size.

use std::io::Read;
use std::path::Path;

use crate::error::{Result, RuntimeError};

/// Reads a text file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    let fail = |source| RuntimeError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let len = file.metadata().map_err(fail)?.len();
    if len > limit {
        return Err(RuntimeError::TooLarge { path: path.to_owned(), len, limit });
    }
    let mut text = String::new();
    // The file may grow, or be a pipe without a length: the cap holds for what is read.
    file.take(limit).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

/// Reads a text file of at most `limit` bytes if there is one.
pub(crate) fn read_text_if_present(path: &Path, limit: u64) -> Result<Option<String>> {
    match read_text(path, limit) {
        Ok(text) => Ok(Some(text)),
        Err(RuntimeError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
