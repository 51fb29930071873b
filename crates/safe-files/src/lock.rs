//! A lock between processes: a file that one of them holds.
//!
//! It is the lock of `flock`, as Python's `filelock` takes it on Unix, and goes with the process that holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use crate::error::{IoContext, WriteError};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held to be dropped")] File);

impl Lock {
    /// Takes the lock if nobody has it; the file is made if it is not there, and stays.
    ///
    /// `None` when another holds it. On file systems that have no locks it is taken by everybody: whoever relies on it for
    /// more than not doing work twice must check what comes of it.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn try_take(path: &Path) -> Result<Option<Self>, WriteError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).at("open", path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(Some(Self(file))),
            Err(TryLockError::Error(source)) => {
                Err(WriteError::Io { action: "lock", path: path.to_path_buf(), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = Lock::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_take(&path).unwrap().is_some());
        assert!(Lock::try_take(&dir.path().join("none/x")).is_err());
    }
}
