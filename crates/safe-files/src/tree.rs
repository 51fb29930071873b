//! Files and folders that are copied as they are, whole or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{IoContext, WriteError},
    place::{Place, what},
    staged::{Existing, StagedDir, sync_file},
    write::{OutputFile, beside, keep_owner_and_mode, persist},
};

/// What is to be copied: a file, or a folder with everything in it.
///
/// Symbolic links are copied as what they point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
    /// Below the root, folders before what is in them; none for a file.
    entries: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    relative: PathBuf,
    is_folder: bool,
}

impl Tree {
    /// Looks through a file or folder.
    ///
    /// # Errors
    /// [`WriteError::Target`] for what cannot be copied: pipes and devices, links to nothing, folders that hold
    /// themselves; [`WriteError::Io`].
    pub fn read(root: &Path) -> Result<Self, WriteError> {
        let mut entries = None;
        if is_folder(root)? {
            let mut found = Vec::new();
            walk(root, Path::new(""), &mut Vec::new(), &mut found)?;
            entries = Some(found);
        }
        Ok(Self { root: root.to_path_buf(), entries })
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files in it, below the root and in the order of their names; of a file alone nothing.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let entries = self.entries.iter().flatten();
        entries.filter(|entry| !entry.is_folder).map(|entry| entry.relative.as_path())
    }

    /// Copies it to a place, where it appears whole, and replaces a file or folder that is there; links are followed, and
    /// what is no regular file is written into, as by [`OutputFile::write`].
    ///
    /// # Errors
    /// [`WriteError::Target`] when a file would replace a folder, or a folder something else; [`WriteError::Io`].
    pub fn copy_to(&self, to: &Path) -> Result<(), WriteError> {
        let Some(entries) = &self.entries else { return copy_file_to(&self.root, to) };
        let staged = StagedDir::new(to, Existing::Replace)?;
        for Entry { relative, is_folder } in entries {
            let (from, target) = (self.root.join(relative), staged.path().join(relative));
            if *is_folder {
                fs::create_dir(&target).at("make", &target)?;
            } else {
                fs::copy(&from, &target).at("copy", &from)?;
            }
        }
        staged.commit().map(drop)
    }
}

fn copy_file_to(from: &Path, to: &Path) -> Result<(), WriteError> {
    let (target, old) = match Place::of(to)? {
        Place::Directory(_) => {
            return Err(WriteError::target(to, format!("it is a folder, and {} is a file", from.display())));
        }
        Place::Stdout | Place::Stream(_) => {
            let mut from = File::open(from).at("read", from)?;
            return OutputFile::new(to, false).write(|out| io::copy(&mut from, out).map(drop));
        }
        Place::File(real) => (real, Some(to)),
        Place::Absent(absent) => (absent.path(), None),
    };
    let temporary = beside(&target)?;
    fs::copy(from, temporary.path()).at("copy", from)?;
    if let Some(old) = old {
        keep_owner_and_mode(temporary.as_file(), old).at("keep the permissions of", to)?;
    }
    sync_file(temporary.path())?;
    persist(temporary, &target)
}

/// Whether it is a folder; what is neither that nor a file is refused.
fn is_folder(path: &Path) -> Result<bool, WriteError> {
    let kind = fs::metadata(path).at("read", path)?.file_type();
    if kind.is_dir() || kind.is_file() {
        return Ok(kind.is_dir());
    }
    Err(WriteError::Clash { message: format!("{} is {}, which cannot be copied", path.display(), what(kind)) })
}

fn walk(root: &Path, below: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<Entry>) -> Result<(), WriteError> {
    let folder = root.join(below);
    let real = fs::canonicalize(&folder).at("read", &folder)?;
    if above.contains(&real) {
        return Err(WriteError::Clash { message: format!("{} is a link to a folder that holds it", folder.display()) });
    }
    above.push(real);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).at("read", &folder)? {
        names.push(entry.at("read", &folder)?.file_name());
    }
    names.sort();
    for name in names {
        let relative = below.join(name);
        let path = root.join(&relative);
        let is_folder = is_folder(&path)?;
        if !is_folder {
            File::open(&path).at("read", &path)?;
        }
        found.push(Entry { relative: relative.clone(), is_folder });
        if is_folder {
            walk(root, &relative, above, found)?;
        }
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_files_appear_as_they_are_and_replace_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("from/sub/empty")).unwrap();
        fs::write(path("from/sub/x"), "x").unwrap();
        fs::create_dir_all(path("to/old")).unwrap();
        let tree = Tree::read(&path("from")).unwrap();
        assert_eq!(tree.files().collect::<Vec<_>>(), [Path::new("sub/x")]);
        tree.copy_to(&path("to")).unwrap();
        assert_eq!(fs::read(path("to/sub/x")).unwrap(), b"x");
        assert!(path("to/sub/empty").is_dir() && !path("to/old").exists());
        fs::write(path("file"), "old").unwrap();
        Tree::read(&path("from/sub/x")).unwrap().copy_to(&path("file")).unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"x");
        assert!(Tree::read(&path("file")).unwrap().copy_to(&path("to")).is_err());
        assert!(Tree::read(&path("to")).unwrap().copy_to(&path("file")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_goes_through_links_and_into_pipes() {
        let dir = tempfile::tempdir().unwrap();
        let [from, link, pipe] = ["from", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&from, "text").unwrap();
        std::os::unix::fs::symlink("new", &link).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read(pipe).unwrap())
        };
        let tree = Tree::read(&from).unwrap();
        tree.copy_to(&link).unwrap();
        tree.copy_to(&pipe).unwrap();
        assert_eq!(reader.join().unwrap(), b"text");
        assert_eq!(fs::read(dir.path().join("new")).unwrap(), b"text");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_copied_is_known_before_anything_is() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        symlink(&from, from.join("itself")).unwrap();
        let error = Tree::read(&from).unwrap_err().to_string();
        assert!(error.contains("itself is a link to a folder that holds it"), "{error}");
        fs::remove_file(from.join("itself")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        assert!(Tree::read(&from).unwrap_err().to_string().contains("dangling"));
        fs::remove_file(from.join("dangling")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, from.join("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert!(Tree::read(&from).unwrap_err().to_string().contains("pipe is a pipe, which cannot be copied"));
    }
}
