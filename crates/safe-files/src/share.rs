//! Two names for one file, or a copy where the file system has no such thing.

use std::{fs, io, path::Path};

use crate::error::{IoContext, WriteError};

/// How a second name for a file came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// It is the same file: a hard link.
    Linked,
    /// It is a copy.
    Copied,
}

/// Makes `to`, which must not be there, the same file as `from`, or a copy of it.
///
/// # Errors
/// [`WriteError::Io`].
pub fn link_or_copy(from: &Path, to: &Path) -> Result<Shared, WriteError> {
    share(from, to, |from, to| fs::hard_link(from, to))
}

/// As [`link_or_copy`], by this way of linking.
fn share(from: &Path, to: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<Shared, WriteError> {
    // Why a file system cannot link is told in many ways; whatever stands in the way of a copy too is told by it.
    if link(from, to).is_ok() {
        return Ok(Shared::Linked);
    }
    fs::copy(from, to).at("copy to", to)?;
    Ok(Shared::Copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_files_cannot_be_linked_they_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "weights").unwrap();
        let no_links = |_: &Path, _: &Path| Err(io::Error::from(io::ErrorKind::Unsupported));
        assert_eq!(share(&from, &to, no_links).unwrap(), Shared::Copied);
        fs::write(&from, "others").unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "weights");
        assert!(matches!(share(&dir.path().join("absent"), &to, no_links), Err(WriteError::Io { .. })));
    }

    #[test]
    fn a_link_is_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "weights").unwrap();
        if link_or_copy(&from, &to).unwrap() == Shared::Linked {
            fs::write(&from, "others").unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "others");
        }
    }
}
