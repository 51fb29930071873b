//! Folders that somebody else made, moved to where they are kept.

use std::{fs, io, path::Path};

use crate::{
    error::{IoContext, WriteError},
    staged::{rename_to_free, sync_tree},
    tree::Tree,
};

/// How a folder came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It was renamed.
    Renamed,
    /// It was copied, for its place is on another volume.
    Copied,
    /// Somebody had put one there meanwhile, which stays.
    WasThere,
}

/// Moves a folder, made durable, to a place where nothing is, and where it appears whole; afterwards it is no longer where
/// it was.
///
/// # Errors
/// [`WriteError::Io`], and those of [`Tree::copy_to`]; the folder is then where it was.
pub fn move_folder(from: &Path, to: &Path) -> Result<Moved, WriteError> {
    move_by(from, to, rename_to_free)
}

/// As [`move_folder`], by this way of renaming.
fn move_by(from: &Path, to: &Path, rename: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<Moved, WriteError> {
    sync_tree(from)?;
    let moved = match rename(from, to) {
        Ok(()) => return Ok(Moved::Renamed),
        Err(_) if to.is_dir() => Moved::WasThere,
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            Tree::read(from)?.copy_to(to)?;
            Moved::Copied
        }
        Err(e) => return Err(e).at("rename to", to),
    };
    fs::remove_dir_all(from).at("remove", from)?;
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Moved, is_there: bool, rename: impl FnOnce(&Path, &Path) -> io::Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("weights")).unwrap();
        fs::write(from.join("weights/weight.bin"), "new").unwrap();
        if is_there {
            fs::create_dir_all(to.join("weights")).unwrap();
            fs::write(to.join("weights/weight.bin"), "old").unwrap();
        }
        assert_eq!(move_by(&from, &to, rename).unwrap(), expected);
        let text = fs::read_to_string(to.join("weights/weight.bin")).unwrap();
        assert_eq!(text, if is_there { "old" } else { "new" });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays behind");
    }

    #[test]
    fn a_folder_is_renamed_or_copied_to_another_volume_or_was_there() {
        check(Moved::Renamed, false, rename_to_free);
        check(Moved::Copied, false, |_, _| Err(io::ErrorKind::CrossesDevices.into()));
        check(Moved::WasThere, true, rename_to_free);
    }

    #[test]
    fn what_cannot_be_moved_stays_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let error = move_folder(&from, &dir.path().join("absent/to")).unwrap_err().to_string();
        assert!(error.contains("cannot rename to"), "{error}");
        assert!(from.is_dir());
        assert!(move_folder(&dir.path().join("absent"), &dir.path().join("to")).is_err());
    }
}
