//! A folder for what is only needed while something beside it is made.

use std::path::{Path, PathBuf};

use crate::error::WriteError;
use crate::staged::{Existing, StagedDir};

/// A hidden folder beside a target, on its file system, so that files can be linked from one to the other.
///
/// It is removed with all that is in it when it is dropped; what a killed process leaves of it, the next run for the same
/// target removes.
#[derive(Debug)]
pub struct Scratch {
    staged: StagedDir,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// [`WriteError::Io`], and [`WriteError::Target`] for a path without a name.
    pub fn beside(target: &Path) -> Result<Self, WriteError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        // Nothing has this name, so that a target that is there already does not matter.
        name.push(".scratch");
        Ok(Self { staged: StagedDir::new(&target.with_file_name(name), Existing::Replace)? })
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.staged.path()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_of_it_stays_and_what_was_linked_from_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        fs::write(&target, "old").unwrap();
        let scratch = Scratch::beside(&target).unwrap();
        fs::write(scratch.path().join("weights"), "w").unwrap();
        crate::link_or_copy(&scratch.path().join("weights"), &dir.path().join("kept")).unwrap();
        drop(scratch);
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["kept", "x"]);
        assert_eq!(fs::read_to_string(dir.path().join("kept")).unwrap(), "w");
    }
}
