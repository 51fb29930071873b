//! What a path stands for: a regular file or none yet, a directory, a pipe or device, or standard output.
//!
//! Symbolic links are followed, those to nothing too: the link stays, and what it points to is written.
//! Nothing is changed here.

use std::{
    ffi::OsString,
    fs::{self, FileType, Metadata},
    io,
    path::{Component, Path, PathBuf},
};

use crate::error::{IoContext, WriteError};

/// As many links in a row as Linux follows.
const MAX_LINKS: usize = 40;

/// What a path stands for.
#[derive(Debug)]
pub(crate) enum Place {
    /// The standard output of this process.
    Stdout,
    /// A pipe, a device, a socket or a descriptor: written into, never replaced. The path as it was given.
    Stream(PathBuf),
    /// A regular file at its real path.
    File(PathBuf),
    /// A directory at its real path.
    Directory(PathBuf),
    /// Nothing, and what would have to be made.
    Absent(Absent),
}

/// A path that leads to nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    /// The deepest directory on the way that is there, at its real path.
    pub(crate) ancestor: PathBuf,
    /// What is missing below it; at least one name.
    missing: Vec<OsString>,
}

impl Absent {
    /// Where it would be.
    pub(crate) fn path(&self) -> PathBuf {
        self.ancestor.join(self.missing.iter().collect::<PathBuf>())
    }

    /// True when only the last name is missing.
    pub(crate) fn has_parent(&self) -> bool {
        self.missing.len() == 1
    }

    /// The directories from the first that is missing to the path itself.
    pub(crate) fn each(&self) -> impl Iterator<Item = PathBuf> {
        self.missing.iter().scan(self.ancestor.clone(), |at, name| {
            at.push(name);
            Some(at.clone())
        })
    }
}

impl Place {
    /// Looks at a path.
    ///
    /// # Errors
    /// [`WriteError::Target`] for links in a circle, block devices, and paths that go through a file;
    /// [`WriteError::Io`].
    pub(crate) fn of(path: &Path) -> Result<Self, WriteError> {
        if let Some(descriptor) = descriptor(path)? {
            return Ok(if descriptor == Some(1) { Self::Stdout } else { Self::Stream(path.to_path_buf()) });
        }
        if is_reserved(path) {
            return Ok(Self::Stream(path.to_path_buf()));
        }
        match fs::metadata(path) {
            Ok(meta) if is_stdout(&meta) => Ok(Self::Stdout),
            Ok(meta) if meta.is_dir() => Ok(Self::Directory(real(path)?)),
            Ok(meta) if meta.is_file() => Ok(Self::File(real(path)?)),
            Ok(meta) if is_block_device(meta.file_type()) => {
                Err(WriteError::target(path, "it is a block device, a disk; give the name of a file"))
            }
            Ok(_) => Ok(Self::Stream(path.to_path_buf())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::Absent(absent(path)?)),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(through_a_file(path)),
            Err(e) => Err(e).at("look at", path),
        }
    }
}

/// What stands at a path, in words.
pub(crate) fn what(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() {
            return "a device";
        } else if kind.is_block_device() {
            return "a block device";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a file"
    } else {
        "neither a file nor a folder"
    }
}

fn real(path: &Path) -> Result<PathBuf, WriteError> {
    fs::canonicalize(path).at("resolve", path)
}

fn through_a_file(path: &Path) -> WriteError {
    let file = path.ancestors().skip(1).find(|a| fs::metadata(a).is_ok_and(|meta| !meta.is_dir()));
    let file = file.unwrap_or(path).display().to_string();
    WriteError::target(path, format!("{file} is a file, not a folder"))
}

/// The deepest directory that is there, and what is missing; a link to nothing stands for what it points to.
fn absent(path: &Path) -> Result<Absent, WriteError> {
    let mut at = std::path::absolute(path).at("resolve", path)?;
    for _ in 0..=MAX_LINKS {
        let mut missing = Vec::new();
        let mut ancestor = at.clone();
        let dangling = loop {
            match fs::metadata(&ancestor) {
                Ok(meta) if meta.is_dir() => break None,
                Ok(_) => return Err(through_a_file(path)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(through_a_file(path)),
                Err(e) => return Err(e).at("look at", &ancestor),
            }
            if let Ok(to) = fs::read_link(&ancestor) {
                break Some(parent_of(&ancestor).join(to));
            }
            match ancestor.components().next_back() {
                Some(Component::Normal(name)) => missing.insert(0, name.to_owned()),
                // `x/..` of an x that is not there.
                _ => return Err(WriteError::target(path, "it goes up from a folder that does not exist")),
            }
            ancestor.pop();
        };
        match dangling {
            None if missing.is_empty() => break,
            None => return Ok(Absent { ancestor: real(&ancestor)?, missing }),
            // Joining an empty path would add a separator, which asks for a directory.
            Some(to) => at = missing.iter().fold(to, |at, name| at.join(name)),
        }
    }
    Err(in_a_circle(path))
}

fn in_a_circle(path: &Path) -> WriteError {
    WriteError::target(path, "it is a symbolic link that leads back to itself; remove it, or give another name")
}

/// Follows links until something is a descriptor of a process: `Some` of its number, or of `None` if it is not ours.
///
/// Such a path is no name that could be given to another file, whatever it is open on.
fn descriptor(path: &Path) -> Result<Option<Option<u32>>, WriteError> {
    let mut at = path.to_path_buf();
    for _ in 0..=MAX_LINKS {
        if let Some(number) = descriptor_number(&at) {
            return Ok(Some(number));
        }
        match fs::read_link(&at) {
            Ok(to) => at = parent_of(&at).join(to),
            Err(_) => return Ok(None),
        }
    }
    Err(in_a_circle(path))
}

/// `/dev/fd/N`, `/proc/self/fd/N`, `/proc/PID/fd/N`.
fn descriptor_number(path: &Path) -> Option<Option<u32>> {
    if !cfg!(unix) {
        return None;
    }
    let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
    // `fd` is reached through links of its own: /dev/fd, /proc/self.
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string());
    if folder == Path::new("/dev/fd") || folder == own.join("fd") || is_thread(&folder, &own) {
        return Some(Some(number));
    }
    let is_other = folder.starts_with("/proc") && folder.file_name().is_some_and(|name| name == "fd");
    is_other.then_some(None)
}

/// `/proc/PID/task/TID/fd`, which `/proc/thread-self/fd` is.
fn is_thread(folder: &Path, own: &Path) -> bool {
    folder.starts_with(own.join("task")) && folder.file_name().is_some_and(|name| name == "fd")
}

/// Whether this is what standard output is open on; a device such as /dev/null is the same for all who open it.
#[cfg(unix)]
fn is_stdout(meta: &Metadata) -> bool {
    use std::{
        io::IsTerminal,
        os::{
            fd::AsFd,
            unix::fs::{FileTypeExt, MetadataExt},
        },
    };
    if meta.file_type().is_char_device() && !io::stdout().is_terminal() {
        return false;
    }
    let own = io::stdout().as_fd().try_clone_to_owned().and_then(|fd| fs::File::from(fd).metadata());
    own.is_ok_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn is_stdout(_meta: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn is_block_device(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&kind)
}

#[cfg(not(unix))]
fn is_block_device(_kind: FileType) -> bool {
    false
}

/// Names that Windows keeps for devices, in every directory.
fn is_reserved(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_ascii_uppercase();
    let is_port = |kind: &str| stem.strip_prefix(kind).is_some_and(|n| n.len() == 1 && n != "0");
    cfg!(windows) && (["CON", "PRN", "AUX", "NUL", "CONOUT$"].contains(&&*stem) || is_port("COM") || is_port("LPT"))
}

/// The directory that a path lies in, as it was spelt.
pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Refuses a directory in which no file can be made, by making one that has no name there.
///
/// Permissions alone do not tell: the file system may be read-only, or be none that takes files.
pub(crate) fn check_folder(path: &Path, folder: &Path) -> Result<(), WriteError> {
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|e| WriteError::target(path, format!("no file can be made in {}: {e}", folder.display())))
}

/// What tells one file from another, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Standard output.
    Stdout,
    /// Anything that has a path, or will have one.
    At {
        /// Its real path.
        path: PathBuf,
        /// Device and number on it, where the system tells and the file is there.
        number: Option<(u64, u64)>,
    },
}

impl Identity {
    /// The identity of what a path stands for.
    pub(crate) fn of(path: &Path, place: &Place) -> Self {
        let at = match place {
            Place::Stdout => return Self::Stdout,
            Place::Stream(path) => fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
            Place::File(path) | Place::Directory(path) => path.clone(),
            Place::Absent(absent) => absent.path(),
        };
        Self::At { number: number(path), path: at }
    }

    /// True for two names of one file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::At { path: a, number: m }, Self::At { path: b, number: n }) => a == b || (m.is_some() && m == n),
            _ => self == other,
        }
    }

    /// True when this lies somewhere in `folder`, and is not it.
    pub(crate) fn is_inside(&self, folder: &Self) -> bool {
        match (self, folder) {
            (Self::At { path, .. }, Self::At { path: folder, .. }) => path != folder && path.starts_with(folder),
            _ => false,
        }
    }
}

#[cfg(unix)]
fn number(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn number(_path: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_found_below_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let Place::Absent(absent) = Place::of(&dir.path().join("a/b/c")).unwrap() else { panic!("not absent") };
        assert_eq!(
            (absent.ancestor.clone(), absent.path(), absent.has_parent()),
            (root.clone(), root.join("a/b/c"), false)
        );
        assert_eq!(absent.each().collect::<Vec<_>>(), [root.join("a"), root.join("a/b"), root.join("a/b/c")]);
        fs::write(root.join("file"), "").unwrap();
        let error = Place::of(&root.join("file/x")).unwrap_err().to_string();
        assert!(error.contains("file is a file, not a folder"), "{error}");
        assert!(matches!(Place::of(&root.join("file")).unwrap(), Place::File(path) if path == root.join("file")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_circles_are_told() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("sub/c", root.join("b")).unwrap();
        let Place::Absent(absent) = Place::of(&root.join("a")).unwrap() else { panic!("not absent") };
        assert_eq!(absent.path(), root.join("sub/c"));
        assert!(!absent.has_parent());
        let Place::Absent(below) = Place::of(&root.join("a/d")).unwrap() else { panic!("not absent") };
        assert_eq!(below.path(), root.join("sub/c/d"));
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/c"), "").unwrap();
        assert!(matches!(Place::of(&root.join("a")).unwrap(), Place::File(path) if path == root.join("sub/c")));
        symlink("y", root.join("x")).unwrap();
        symlink("x", root.join("y")).unwrap();
        let error = Place::of(&root.join("x")).unwrap_err().to_string();
        assert!(error.contains("leads back to itself"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_are_never_files_whatever_they_are_open_on() {
        use std::os::fd::AsRawFd;
        let file = tempfile::NamedTempFile::new().unwrap();
        let number = file.as_file().as_raw_fd();
        for folder in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
            let path = PathBuf::from(format!("{folder}/{number}"));
            assert!(matches!(Place::of(&path).unwrap(), Place::Stream(_)), "{folder}");
            assert!(matches!(Place::of(&Path::new(folder).join("1")).unwrap(), Place::Stdout), "{folder}");
        }
        assert!(matches!(Place::of(Path::new("/dev/stdout")).unwrap(), Place::Stdout));
    }

    #[cfg(unix)]
    #[test]
    fn hard_links_are_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "").unwrap();
        fs::hard_link(&a, &b).unwrap();
        let of = |path: &Path| Identity::of(path, &Place::of(path).unwrap());
        assert!(of(&a).is_same(&of(&b)));
        assert!(of(&a).is_inside(&of(dir.path())) && !of(dir.path()).is_inside(&of(&a)));
        assert!(!of(&a).is_same(&of(dir.path())));
    }
}
