//! A file that grows over several runs under a name of its own, and gets its real one when it is whole.
//!
//! What is written stays where a run breaks off, so that the next one goes on; whether it is the beginning of the right file
//! is for the caller to know, who checks it as a whole before it is named.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::error::{IoContext, WriteError};

/// What follows the name of a file that is not whole.
const SUFFIX: &str = ".incomplete";

/// A file that is not whole yet: `NAME.incomplete` beside the place where `NAME` will be.
#[derive(Debug)]
pub struct Growing {
    file: File,
    path: PathBuf,
    target: PathBuf,
    n_bytes: u64,
}

impl Growing {
    /// Goes on with what is there already, or begins.
    ///
    /// # Errors
    /// [`WriteError::Io`], and [`WriteError::Target`] where something else has the name.
    pub fn open(target: &Path) -> Result<Self, WriteError> {
        let mut name = OsString::from(target.file_name().unwrap_or_default());
        name.push(SUFFIX);
        let path = target.with_file_name(name);
        if path.is_dir() {
            return Err(WriteError::target(&path, "it is a directory; remove it"));
        }
        // Not for appending: Windows lets nobody shorten a file that is only appended to.
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.at("open", &path)?;
        let n_bytes = file.seek(SeekFrom::End(0)).at("read", &path)?;
        Ok(Self { file, path, target: target.to_path_buf(), n_bytes })
    }

    /// Bytes that are there.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Where it grows.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is there, from its beginning.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn written(&self) -> Result<File, WriteError> {
        File::open(&self.path).at("read", &self.path)
    }

    /// Adds to the end.
    ///
    /// # Errors
    /// [`WriteError::Io`], with what had been written before still there.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Err(source) = self.file.write_all(bytes) {
            // A part of these bytes may be there; what follows must begin where the caller believes it does.
            let _ = self.file.set_len(self.n_bytes);
            let _ = self.file.seek(SeekFrom::Start(self.n_bytes));
            return Err(WriteError::Io { action: "write", path: self.path.clone(), source });
        }
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is there.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn restart(&mut self) -> Result<(), WriteError> {
        self.file.set_len(0).at("write", &self.path)?;
        self.file.seek(SeekFrom::Start(0)).at("write", &self.path)?;
        self.n_bytes = 0;
        Ok(())
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn finish(self) -> Result<(), WriteError> {
        self.file.sync_all().at("write", &self.path)?;
        // Some systems do not rename a file that is open.
        drop(self.file);
        fs::rename(&self.path, &self.target).at("write", &self.target)
    }

    /// Removes it: it is not what it should be.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn discard(self) -> Result<(), WriteError> {
        drop(self.file);
        fs::remove_file(&self.path).at("remove", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_until_it_is_whole_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("0123.bin");
        let mut file = Growing::open(&target).unwrap();
        file.append(b"abc").unwrap();
        drop(file);
        assert_eq!(fs::read(dir.path().join("0123.bin.incomplete")).unwrap(), b"abc");
        let mut file = Growing::open(&target).unwrap();
        assert_eq!(file.n_bytes(), 3);
        file.append(b"def").unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), b"abcdef");
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcdef");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_wrong_is_forgotten_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let mut file = Growing::open(&target).unwrap();
        file.append(b"wrong").unwrap();
        file.restart().unwrap();
        file.append(b"right").unwrap();
        assert_eq!((file.n_bytes(), fs::read(file.path()).unwrap()), (5, b"right".to_vec()));
        file.discard().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::create_dir(dir.path().join("x.incomplete")).unwrap();
        assert!(matches!(Growing::open(&target), Err(WriteError::Target { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_and_the_file_gets_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        std::os::unix::fs::symlink("/dev/full", dir.path().join("x.incomplete")).unwrap();
        let mut file = Growing::open(&target).unwrap();
        let error = file.append(b"abc").unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(file.n_bytes(), 0);
        assert!(!target.exists());
    }
}
