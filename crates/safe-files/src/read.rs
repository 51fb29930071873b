//! Small files, read whole: with a cap, without a byte order mark, and never a Git LFS pointer.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::kind::{FileKind, kind_of};

/// Why a small file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is larger than any real one of its kind.
    #[error("{} has more than the {limit} bytes that such a file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The cap in bytes.
        limit: u64,
    },
    /// The file is something else than what its name says.
    #[error("{} is {kind}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The file is no text.
    #[error("{} is not text in UTF-8: byte {at} is wrong", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is not.
        at: usize,
    },
}

impl ReadError {
    /// True when there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

/// Reads a file of at most `limit` bytes; a byte order mark at its beginning is left out.
///
/// The cap holds for what is read, whatever length the file claims: it may be a pipe.
///
/// # Errors
/// [`ReadError`]; a Git LFS pointer is [`ReadError::Kind`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    if kind_of(&bytes) == Some(FileKind::LfsPointer) {
        return Err(ReadError::Kind { path: path.to_owned(), kind: FileKind::LfsPointer });
    }
    let mark = bytes.len() - strip_bom(&bytes).len();
    bytes.drain(..mark);
    Ok(bytes)
}

/// As [`read`]; `None` when there is no such file.
///
/// # Errors
/// As [`read`].
pub fn read_if_present(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
    present(read(path, limit))
}

/// As [`read`], for text in UTF-8.
///
/// # Errors
/// As [`read`], and [`ReadError::NotText`].
pub fn read_text(path: &Path, limit: u64) -> Result<String, ReadError> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|e| ReadError::NotText { path: path.to_owned(), at: e.utf8_error().valid_up_to() })
}

/// As [`read_text`]; `None` when there is no such file.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_if_present(path: &Path, limit: u64) -> Result<Option<String>, ReadError> {
    present(read_text(path, limit))
}

fn present<T>(result: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The bytes without a byte order mark of UTF-8, which editors on Windows put before JSON.
#[must_use]
pub fn strip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn a_byte_order_mark_is_left_out() {
        let (_dir, path) = file(b"\xef\xbb\xbf{}");
        assert_eq!(read_text(&path, 5).unwrap(), "{}");
    }

    #[test]
    fn the_cap_holds() {
        let (_dir, path) = file(b"12345");
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(matches!(read(&path, 4), Err(ReadError::TooLarge { limit: 4, .. })));
    }

    #[test]
    fn a_pointer_of_git_lfs_is_named_with_what_to_do() {
        let (_dir, path) = file(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
        let error = read(&path, 1000).unwrap_err().to_string();
        assert!(error.contains("config.json is a Git LFS pointer") && error.contains("git lfs pull"), "{error}");
    }

    #[test]
    fn absent_files_are_none_and_others_are_errors() {
        let (dir, path) = file(b"\xff");
        assert_eq!(read_if_present(&dir.path().join("none"), 9).unwrap(), None);
        assert!(read_text(&path, 9).unwrap_err().to_string().contains("byte 0"));
        assert!(read_if_present(dir.path(), 9).is_err());
    }
}
