//! Files that are mapped.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::CheckpointError;

/// Maps a file.
pub(crate) fn map_file(path: &Path) -> Result<Bytes, CheckpointError> {
    let io = |source| safe_files::ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is private and read-only. A checkpoint that another process shortens while it
    // is converted may still stop this one; that is the price of not copying it.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::from_owner(map))
}
