//! Directories that appear whole or not at all.
//!
//! Everything is written into a staging directory beside the target, made durable, and renamed into place in one step.
//! What a killed process leaves is a directory whose name begins with `.TARGET.smelt-`; the next run for the same
//! target removes it, after it has put back a package that was moved aside and not yet replaced.
//! Nothing here knows what a package is.
//!
//! ```text
//! DIR/Unet.mlpackage                 the target
//! DIR/.Unet.mlpackage.smelt-Xq3b9K/  staging: `lock` (held while its process lives), `new`, for an instant `old`, and
//!                                    `spool`, when a file is read while it is being written
//! ```

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    error::{IoContext, WriteError},
    place::{Place, parent_of, what},
    write::is_link,
};

/// What happens when the target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It is an error.
    #[default]
    Refuse,
    /// It is replaced, in one step where the system can exchange two directories.
    Replace,
}

const LOCK: &str = "lock";
const NEW: &str = "new";
const OLD: &str = "old";
const SPOOL: &str = "spool";
/// An empty staging directory is a process that is just beginning, unless it is older than this.
const GRACE: Duration = Duration::from_secs(60);

/// A directory that is being written. Dropped before [`StagedDir::commit`], it leaves nothing.
#[derive(Debug)]
pub struct StagedDir {
    target: PathBuf,
    existing: Existing,
    lock: Option<File>,
    staging: Arc<Staging>,
}

/// Removes what is left of a staging directory when the last of these is dropped.
///
/// Some systems do not remove a file that is mapped: whoever maps the spool keeps one of these until it is not.
#[derive(Debug, Clone)]
pub struct Residue(#[expect(dead_code, reason = "held to be dropped")] Arc<Staging>);

#[derive(Debug)]
struct Staging(PathBuf);

impl Staging {
    fn remove(&self) {
        // What stays is hidden, and the next run for the same target removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        // Closed before it is removed, and removed although somebody may have a `Residue`.
        self.lock = None;
        self.staging.remove();
    }
}

impl StagedDir {
    /// Removes what killed processes left for this target, and begins an empty directory.
    ///
    /// A symbolic link is followed: it stays, and what it points to is replaced or made.
    ///
    /// # Errors
    /// [`WriteError::Exists`], [`WriteError::Target`] when the path has no name or is something else than a directory, or
    /// [`WriteError::Io`].
    pub fn new(target: &Path, existing: Existing) -> Result<Self, WriteError> {
        let target = follow(target)?;
        let name = target.file_name().ok_or_else(|| WriteError::target(&target, "it names no directory"))?;
        let parent = parent_of(&target);
        let prefix = prefix_of(name);
        clean(&parent, &target, &prefix)?;
        check_existing(&target, existing)?;
        let staging = tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent);
        let staging = Staging(staging.at("create a directory in", &parent)?.keep());
        let lock_path = staging.0.join(LOCK);
        let lock = File::create_new(&lock_path).at("create", &lock_path)?;
        lock.try_lock().or_else(unsupported_is_fine).at("lock", &lock_path)?;
        let new = staging.0.join(NEW);
        fs::create_dir(&new).at("create", &new)?;
        Ok(Self { target, existing, lock: Some(lock), staging: Arc::new(staging) })
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.staging.0.join(NEW)
    }

    /// Where a file may lie that stays open or mapped beyond [`StagedDir::commit`]; it goes with the staging directory.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.staging.0.join(SPOOL)
    }

    /// To be kept by whoever maps the spool, and dropped after the map.
    #[must_use]
    pub fn residue(&self) -> Residue {
        Residue(Arc::clone(&self.staging))
    }

    /// Begins a file, which must not be there, at a path in [`StagedDir::path`] or at [`StagedDir::spool`]; folders on
    /// the way are made.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn create(&self, path: &Path) -> Result<File, WriteError> {
        self.make_folder(&parent_of(path))?;
        File::create_new(path).at("create", path)
    }

    /// Writes a file as [`StagedDir::create`] begins it.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
        self.create(path)?.write_all(bytes).at("write", path)
    }

    /// Makes a folder and those on the way to it, in [`StagedDir::path`].
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn make_folder(&self, path: &Path) -> Result<(), WriteError> {
        debug_assert!(path.starts_with(&self.staging.0), "only the staging directory is written");
        fs::create_dir_all(path).at("create", path)
    }

    /// Makes everything durable and moves it to the target.
    ///
    /// # Errors
    /// [`WriteError::Exists`] when the target has appeared meanwhile, or [`WriteError::Io`]; the target is then as it was.
    pub fn commit(self) -> Result<(), WriteError> {
        let new = self.path();
        sync_tree(&new)?;
        check_existing(&self.target, self.existing)?;
        if self.target.symlink_metadata().is_ok() {
            self.replace(&new)?;
        } else {
            rename_to_free(&new, &self.target).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                    WriteError::Exists { path: self.target.clone() }
                }
                _ => WriteError::Io { action: "rename to", path: self.target.clone(), source: e },
            })?;
        }
        sync_dir(&parent_of(&self.target))
    }

    /// Puts `new` in the place of the target.
    fn replace(&self, new: &Path) -> Result<(), WriteError> {
        if exchange(new, &self.target).is_ok() {
            // The old package is now `new` in the staging directory, and goes with it.
            return Ok(());
        }
        // Without an exchange there is an instant without a target; `clean` ends it should the process be killed.
        let old = self.staging.0.join(OLD);
        fs::rename(&self.target, &old).at("move aside", &self.target)?;
        if let Err(e) = fs::rename(new, &self.target) {
            fs::rename(&old, &self.target).at("move back", &self.target)?;
            return Err(e).at("rename to", &self.target);
        }
        Ok(())
    }
}

fn check_existing(target: &Path, existing: Existing) -> Result<(), WriteError> {
    match target.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).at("read", target),
        Ok(_) if existing == Existing::Refuse => Err(WriteError::Exists { path: target.to_path_buf() }),
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(meta) => Err(not_a_directory(target, meta.file_type())),
    }
}

pub(crate) fn not_a_directory(path: &Path, kind: fs::FileType) -> WriteError {
    WriteError::target(path, format!("it is {}, not a folder; remove it, or give another name", what(kind)))
}

/// The path itself, or what it leads to if it is a link.
fn follow(path: &Path) -> Result<PathBuf, WriteError> {
    if !is_link(path) {
        return Ok(path.to_path_buf());
    }
    Ok(match Place::of(path)? {
        Place::Directory(real) | Place::File(real) => real,
        Place::Absent(absent) => absent.path(),
        Place::Stream(_) | Place::Stdout => return Err(WriteError::target(path, "it leads to a pipe or device")),
    })
}

fn prefix_of(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".smelt-");
    prefix
}

/// Removes the staging directories of processes that are gone.
fn clean(parent: &Path, target: &Path, prefix: &OsStr) -> Result<(), WriteError> {
    for entry in fs::read_dir(parent).at("read", parent)? {
        let entry = entry.at("read", parent)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
            continue;
        }
        let staging = entry.path();
        if is_abandoned(&staging) {
            recover(&staging, target)?;
            // Another process may clean at the same time; what is left is left to the next run.
            let _ = fs::remove_dir_all(&staging);
        }
    }
    Ok(())
}

/// A killed `replace` may have left the target's only whole copy in the staging directory.
fn recover(staging: &Path, target: &Path) -> Result<(), WriteError> {
    let old = staging.join(OLD);
    if old.is_dir() && target.symlink_metadata().is_err() {
        fs::rename(&old, target).at("move back", target)?;
    }
    Ok(())
}

/// True when the process that made this staging directory is gone.
fn is_abandoned(staging: &Path) -> bool {
    if !staging.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return false;
    }
    match File::open(staging.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // The lock comes first: where something lies beside no lock, somebody was removing it all, and was killed.
        Err(_) if holds_all_but_a_lock(staging) => true,
        Err(_) => fs::metadata(staging)
            .and_then(|meta| meta.modified())
            .is_ok_and(|made| made.elapsed().is_ok_and(|age| age > GRACE)),
    }
}

/// True when something lies there, and no lock; one that has appeared since it was looked for counts.
fn holds_all_but_a_lock(staging: &Path) -> bool {
    let Ok(entries) = fs::read_dir(staging) else { return false };
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    !names.is_empty() && names.iter().all(|name| name != LOCK)
}

/// Some network file systems have no locks; then a concurrent run may clean this one's staging directory.
fn unsupported_is_fine(error: TryLockError) -> io::Result<()> {
    match error {
        TryLockError::Error(e) if e.kind() == io::ErrorKind::Unsupported => Ok(()),
        TryLockError::Error(e) => Err(e),
        TryLockError::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Flushes every file and directory below `dir` to the disk.
pub(crate) fn sync_tree(dir: &Path) -> Result<(), WriteError> {
    for entry in fs::read_dir(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            sync_file(&path)?;
        }
    }
    sync_dir(dir)
}

/// Flushes a file to the disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), WriteError> {
    // Windows flushes only what is open for writing; elsewhere a copy may be read-only and is flushed all the same.
    let file = if cfg!(windows) { File::options().write(true).open(path) } else { File::open(path) };
    match file {
        // Copied with its protection, which Windows heeds here; its bytes reach the disk a little later.
        Err(e) if cfg!(windows) && e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        file => file.and_then(|f| f.sync_all()).at("flush", path),
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), WriteError> {
    File::open(dir).and_then(|f| f.sync_all()).at("flush", dir)
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), WriteError> {
    // Directories cannot be opened as files here; the file system journals renames.
    Ok(())
}

/// Renames, but never onto something, where the system can promise it.
pub(crate) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(e) if is_unsupported(e) => {}
            other => return other.map_err(io::Error::from),
        }
    }
    fs::rename(from, to)
}

/// Exchanges two directories in one step, where the system can.
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).map_err(io::Error::from)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (a, b);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn is_unsupported(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::NOSYS, Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP].contains(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn stage(target: &Path, existing: Existing, text: &str) -> StagedDir {
        let staged = StagedDir::new(target, existing).unwrap();
        fs::create_dir(staged.path().join("sub")).unwrap();
        fs::write(staged.path().join("sub/file"), text).unwrap();
        staged
    }

    #[test]
    fn a_directory_appears_only_when_it_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.mlpackage");
        let staged = stage(&target, Existing::Refuse, "x");
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("sub/file")).unwrap(), "x");
        assert_eq!(names(dir.path()), ["a.mlpackage"]);
    }

    #[test]
    fn a_dropped_directory_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(stage(&dir.path().join("a"), Existing::Refuse, "x"));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn an_existing_target_is_refused_or_replaced_as_told() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        stage(&target, Existing::Refuse, "x").commit().unwrap();
        assert!(matches!(StagedDir::new(&target, Existing::Refuse), Err(WriteError::Exists { .. })));
        stage(&target, Existing::Replace, "y").commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("sub/file")).unwrap(), "y");
        assert_eq!(names(dir.path()), ["a"]);
        fs::write(dir.path().join("file"), "z").unwrap();
        assert!(matches!(StagedDir::new(&dir.path().join("file"), Existing::Replace), Err(WriteError::Target { .. })));
        assert!(matches!(StagedDir::new(Path::new("/"), Existing::Replace), Err(WriteError::Target { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_they_point_to_is_replaced_or_made() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let [real, link, dangling] = ["real", "link", "dangling"].map(|name| dir.path().join(name));
        stage(&real, Existing::Refuse, "old").commit().unwrap();
        symlink("real", &link).unwrap();
        symlink("new", &dangling).unwrap();
        assert!(matches!(StagedDir::new(&link, Existing::Refuse), Err(WriteError::Exists { .. })));
        stage(&link, Existing::Replace, "one").commit().unwrap();
        stage(&dangling, Existing::Refuse, "two").commit().unwrap();
        assert!(is_link(&link) && is_link(&dangling));
        assert_eq!(fs::read_to_string(real.join("sub/file")).unwrap(), "one");
        assert_eq!(fs::read_to_string(dir.path().join("new/sub/file")).unwrap(), "two");
        assert_eq!(names(dir.path()), ["dangling", "link", "new", "real"]);
        fs::write(dir.path().join("file"), "").unwrap();
        symlink("file", dir.path().join("to-file")).unwrap();
        let error = StagedDir::new(&dir.path().join("to-file"), Existing::Replace).unwrap_err().to_string();
        assert!(error.contains("it is a file, not a folder"), "{error}");
    }

    #[test]
    fn what_a_residue_was_kept_for_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let staged = stage(&dir.path().join("a"), Existing::Refuse, "x");
        staged.write(&staged.spool(), b"mapped").unwrap();
        let (residue, staging) = (staged.residue(), staged.staging.0.clone());
        staged.commit().unwrap();
        // As where the file could not be removed while it was mapped.
        fs::create_dir_all(&staging).unwrap();
        drop(residue);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_target_that_appears_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let late = stage(&target, Existing::Refuse, "late");
        fs::create_dir(&target).unwrap();
        assert!(matches!(late.commit(), Err(WriteError::Exists { .. })));
        assert_eq!(names(dir.path()), ["a"]);
        assert!(names(&target).is_empty());
    }

    /// What `kill -9` leaves: the staging directory as it was, its lock released.
    fn abandon(mut staged: StagedDir) {
        staged.lock = None;
        std::mem::forget(staged);
    }

    #[test]
    fn the_next_run_cleans_what_a_killed_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        abandon(stage(&target, Existing::Refuse, "half"));
        abandon(stage(&dir.path().join("b"), Existing::Refuse, "of another target"));
        // The second call has cleaned nothing of the first target.
        assert_eq!(names(dir.path()).len(), 2);
        assert!(!target.exists());
        let alive = stage(&target, Existing::Refuse, "x");
        assert_eq!(names(dir.path()).len(), 2);
        // A live process's directory stays.
        let other = stage(&target, Existing::Refuse, "y");
        assert!(alive.path().exists());
        drop(other);
        alive.commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("sub/file")).unwrap(), "x");
    }

    #[test]
    fn what_a_run_left_that_was_killed_while_it_removed_is_cleaned_and_an_empty_beginning_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let staged = stage(&target, Existing::Refuse, "half");
        fs::remove_file(staged.staging.0.join(LOCK)).unwrap();
        abandon(staged);
        let beginning = dir.path().join(".a.smelt-beginning");
        fs::create_dir(&beginning).unwrap();
        stage(&target, Existing::Refuse, "x").commit().unwrap();
        assert_eq!(names(dir.path()), [".a.smelt-beginning", "a"]);
    }

    #[test]
    fn a_package_that_was_moved_aside_by_a_killed_run_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        stage(&target, Existing::Refuse, "old").commit().unwrap();
        let staged = stage(&target, Existing::Replace, "new");
        fs::rename(&target, staged.staging.0.join(OLD)).unwrap();
        abandon(staged);
        assert!(!target.exists());
        assert!(matches!(StagedDir::new(&target, Existing::Refuse), Err(WriteError::Exists { .. })));
        assert_eq!(fs::read_to_string(target.join("sub/file")).unwrap(), "old");
        assert_eq!(names(dir.path()), ["a"]);
    }
}
