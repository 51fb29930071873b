//! Two names for one file, or a copy where the file system has no such thing.
//!
//! A hard link is a file of its own; a pointer says where its file is, and goes with the folder that holds both.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    error::{IoContext, WriteError},
    write::{beside, persist},
};

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

/// Makes `pointer` a symbolic link to `file`, relative, so that it stays true where a folder with both is moved; what was
/// there is replaced. Where links cannot be made, as on Windows without that right, the pointer is a copy.
///
/// # Errors
/// [`WriteError::Io`].
pub fn point_to(file: &Path, pointer: &Path) -> Result<Shared, WriteError> {
    point(file, pointer, symlink)
}

/// As [`point_to`], by this way of linking.
fn point(file: &Path, pointer: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<Shared, WriteError> {
    match fs::remove_file(pointer) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(WriteError::Io { action: "replace", path: pointer.to_path_buf(), source });
        }
        _ => {}
    }
    match link(&relative(file, pointer), pointer) {
        Ok(()) => Ok(Shared::Linked),
        // Another process was faster with the same pointer.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && pointer.exists() => Ok(Shared::Linked),
        // A copy has the name only when it is whole.
        Err(_) => {
            let new = beside(pointer)?;
            fs::copy(file, new.path()).at("copy to", pointer)?;
            persist(new, pointer)?;
            Ok(Shared::Copied)
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `file` as it is reached from the folder of `pointer`; both are absolute or both relative to one folder.
fn relative(file: &Path, pointer: &Path) -> PathBuf {
    let folder = pointer.parent().unwrap_or(Path::new(""));
    let n_shared = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(n_shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(n_shared)).collect()
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

    #[test]
    fn a_pointer_leads_to_its_file_also_where_both_are_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, pointer) = (dir.path().join("a/blobs/1"), dir.path().join("a/snapshots/0/unet/config.json"));
        for path in [&blob, &pointer] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(&blob, "{}").unwrap();
        fs::write(&pointer, "old").unwrap();
        if point_to(&blob, &pointer).unwrap() == Shared::Linked {
            assert_eq!(fs::read_link(&pointer).unwrap(), Path::new("../../../blobs/1"));
            fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("b/snapshots/0/unet/config.json")).unwrap(), "{}");
        }
    }

    #[test]
    fn where_there_are_no_links_a_pointer_is_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, pointer) = (dir.path().join("blob"), dir.path().join("pointer"));
        fs::write(&blob, "{}").unwrap();
        let no_links = |_: &Path, _: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(point(&blob, &pointer, no_links).unwrap(), Shared::Copied);
        assert_eq!(fs::read_to_string(&pointer).unwrap(), "{}");
        assert!(!pointer.is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
