//! Small files of a checkpoint.

use std::path::Path;

use crate::CheckpointError;

/// Largest JSON file that is read, in bytes; real ones have a few KiB, a sharded index a few hundred.
pub(crate) const MAX_JSON_BYTES: u64 = 64 << 20;

/// Reads a JSON file of a checkpoint, whose size is capped; a byte order mark is left out.
///
/// # Errors
/// [`CheckpointError::Read`]: the file is missing, unreadable, larger than any real one, or a Git LFS pointer.
pub fn read_json(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    Ok(safe_files::read(path, MAX_JSON_BYTES)?)
}
