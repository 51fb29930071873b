//! One file: replaced whole or not at all where it is a regular file, written into where it is anything else.

use std::{
    error::Error,
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{
    error::{IoContext, WriteError, is_closed_pipe},
    place::{Place, parent_of},
};

/// How names of files that are being written begin.
const PREFIX: &str = ".smelt-";

/// A file that a command may write: [`Outputs::file`](crate::Outputs::file) has looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// As it was given.
    path: PathBuf,
    is_stdout: bool,
}

impl OutputFile {
    pub(crate) fn new(path: &Path, is_stdout: bool) -> Self {
        Self { path: path.to_path_buf(), is_stdout }
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True when it is the standard output of this process.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        self.is_stdout
    }

    /// True when writing replaces or makes a file; a pipe, for example, may wait for its reader for ever.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        !self.is_stdout && !matches!(Place::of(&self.path), Ok(Place::Stream(_) | Place::Stdout))
    }

    /// Writes what `content` gives.
    ///
    /// A regular file appears, or is replaced, when all of it is on the disk: what is made beside it under a hidden name
    /// is moved into place, through symbolic links, with the permissions (and, where allowed, the owner) of the file
    /// that it replaces. Anything else is opened and written into. A reader of standard output that goes away is no
    /// error: what it does not want is dropped.
    ///
    /// # Errors
    /// [`WriteError::Content`] when `content` fails, [`WriteError::Io`], and [`WriteError::Target`] when something else
    /// has taken the file's place. A regular file is then as it was.
    pub fn write<E>(&self, content: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<(), WriteError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |e: E| WriteError::Content { path: self.path.clone(), source: e.into() };
        if self.is_stdout {
            let mut out = UntilClosed { inner: BufWriter::new(io::stdout().lock()), is_closed: false };
            content(&mut out).map_err(failed)?;
            return out.flush().at("write", &self.path);
        }
        match Place::of(&self.path)? {
            Place::Stdout | Place::Stream(_) => {
                let mut out = BufWriter::new(open_stream(&self.path).at("open", &self.path)?);
                content(&mut out).map_err(failed)?;
                out.flush().at("write", &self.path)
            }
            Place::Directory(_) => Err(is_a_directory(&self.path)),
            // Links are followed; any other path stays as it was spelt, in messages too.
            Place::File(real) => replace(self.spelt(real), Some(&self.path), |out| content(out), failed),
            Place::Absent(absent) => replace(self.spelt(absent.path()), None, |out| content(out), failed),
        }
    }

    /// Writes a file whose beginning is only known at its end, as [`OutputFile::write`] writes regular ones.
    ///
    /// # Errors
    /// As [`OutputFile::write`], and [`WriteError::Target`] for what is no regular file.
    pub fn write_seekable<E>(
        &self,
        content: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
    ) -> Result<(), WriteError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |e: E| WriteError::Content { path: self.path.clone(), source: e.into() };
        if self.is_stdout {
            return Err(WriteError::target(&self.path, "it is standard output, and this is written into a file"));
        }
        match Place::of(&self.path)? {
            Place::Stdout | Place::Stream(_) => {
                Err(WriteError::target(&self.path, "it is a pipe or device, and this is written into a file"))
            }
            Place::Directory(_) => Err(is_a_directory(&self.path)),
            Place::File(real) => replace(self.spelt(real), Some(&self.path), content, failed),
            Place::Absent(absent) => replace(self.spelt(absent.path()), None, content, failed),
        }
    }

    /// Removes what was written for a while, where it is a regular file; that it is not there is no error.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn remove(&self) -> Result<(), WriteError> {
        if self.is_stdout || !matches!(Place::of(&self.path)?, Place::File(_)) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.at("remove", &self.path),
        }
    }

    fn spelt(&self, real: PathBuf) -> PathBuf {
        if is_link(&self.path) { real } else { self.path.clone() }
    }
}

impl fmt::Display for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_stdout { f.write_str("standard output") } else { self.path.display().fmt(f) }
    }
}

pub(crate) fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_symlink())
}

pub(crate) fn is_a_directory(path: &Path) -> WriteError {
    WriteError::target(path, "it is a directory; give the name of a file in it")
}

/// Writes beside the target, flushes, and moves into place.
fn replace<E>(
    target: PathBuf,
    old: Option<&Path>,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
    failed: impl FnOnce(E) -> WriteError,
) -> Result<(), WriteError> {
    let mut file = beside(&target)?;
    {
        let mut buffered = BufWriter::new(file.as_file_mut());
        content(&mut buffered).map_err(failed)?;
        buffered.flush().at("write", &target)?;
    }
    if let Some(old) = old {
        keep_owner_and_mode(file.as_file(), old).at("keep the permissions of", &target)?;
    }
    persist(file, &target)
}

/// A new file in the directory of the target.
pub(crate) fn beside(target: &Path) -> Result<NamedTempFile, WriteError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        // Temporary files are private by default; results are as readable as any file the user makes.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(parent_of(target)).at("write", target)
}

/// Flushes a file and gives it its name.
pub(crate) fn persist(file: NamedTempFile, target: &Path) -> Result<(), WriteError> {
    file.as_file().sync_all().at("write", target)?;
    file.persist(target).map(drop).map_err(|e| e.error).at("write", target)
}

/// Gives a new file what the old one has: its permissions, and its owner where this user may.
pub(crate) fn keep_owner_and_mode(new: &File, old: &Path) -> io::Result<()> {
    let meta = fs::metadata(old)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (meta.uid(), meta.gid()) {
            // Only root may give files away; a group may be one's own.
            let _ = fchown(new, Some(meta.uid()), Some(meta.gid())).or_else(|_| fchown(new, None, Some(meta.gid())));
        }
        new.set_permissions(meta.permissions())
    }
    #[cfg(not(unix))]
    {
        let _ = (new, meta);
        Ok(())
    }
}

/// Opens what is no regular file.
fn open_stream(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::{fd::OwnedFd, unix::fs::FileTypeExt, unix::net::UnixStream};
        if fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
            return UnixStream::connect(path).map(|socket| File::from(OwnedFd::from(socket)));
        }
    }
    // Behind a descriptor may be a file, which others write into too.
    File::options().append(true).open(path)
}

/// A writer that takes everything, and gives nothing on once the reader is gone.
struct UntilClosed<W> {
    inner: W,
    is_closed: bool,
}

impl<W> UntilClosed<W> {
    fn closed_is_fine<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(e) if is_closed_pipe(&e) => {
                self.is_closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.closed_is_fine(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.closed_is_fine(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) -> Result<(), WriteError> {
        OutputFile::new(path, false).write(|out| out.write_all(text.as_bytes()))
    }

    fn n_entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        put(&path, "old").unwrap();
        let error = OutputFile::new(&path, false).write(|out| {
            out.write_all(b"new").unwrap();
            Err("no more")
        });
        assert!(matches!(error, Err(WriteError::Content { .. })), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(n_entries(dir.path()), 1);
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let error = put(dir.path(), "x").unwrap_err().to_string();
        assert!(error.contains("it is a directory"), "{error}");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writing_quietly() {
        struct Closed(usize);
        impl Write for Closed {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 1 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut out = UntilClosed { inner: Closed(0), is_closed: false };
        assert!(out.flush().is_err(), "other errors are errors");
        for _ in 0..3 {
            out.write_all(b"x").unwrap();
        }
        assert_eq!(out.inner.0, 2);
        out.flush().unwrap();
    }

    #[cfg(unix)]
    mod unix {
        use std::{
            io::Read,
            os::unix::fs::{PermissionsExt, symlink},
        };

        use rustix::fs::{CWD, FileType, Mode, mkfifoat, mknodat};

        use super::*;

        #[test]
        fn links_stay_and_what_they_point_to_is_replaced_or_made() {
            let dir = tempfile::tempdir().unwrap();
            let [file, link, dangling] = ["file", "link", "dangling"].map(|name| dir.path().join(name));
            fs::write(&file, "old").unwrap();
            symlink("file", &link).unwrap();
            symlink("new", &dangling).unwrap();
            put(&link, "one").unwrap();
            put(&dangling, "two").unwrap();
            assert!(is_link(&link) && is_link(&dangling) && !is_link(&file));
            assert_eq!(fs::read(&file).unwrap(), b"one");
            assert_eq!(fs::read(dir.path().join("new")).unwrap(), b"two");
            assert_eq!(n_entries(dir.path()), 4);
        }

        #[test]
        fn a_replaced_file_keeps_its_permissions() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            for mode in [0o600, 0o640, 0o755, 0o666] {
                fs::write(&path, "old").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                put(&path, "new").unwrap();
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            }
        }

        #[test]
        fn pipes_sockets_and_devices_are_written_into() {
            let dir = tempfile::tempdir().unwrap();
            let pipe = dir.path().join("pipe");
            mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
            let reader = {
                let pipe = pipe.clone();
                std::thread::spawn(move || fs::read(pipe).unwrap())
            };
            put(&pipe, &"x".repeat(100_000)).unwrap();
            assert_eq!(reader.join().unwrap(), vec![b'x'; 100_000]);

            let socket = dir.path().join("socket");
            let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            let reader = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
                bytes
            });
            put(&socket, "through a socket").unwrap();
            assert_eq!(reader.join().unwrap(), b"through a socket");

            // A device of our own, as /dev/null: only root may make one.
            let null = dir.path().join("null");
            let n = if mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).is_ok()
                && File::options().write(true).open(&null).is_ok()
            {
                put(&null, "gone").unwrap();
                assert!(std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata(&null).unwrap().file_type()));
                3
            } else {
                let _ = fs::remove_file(&null);
                2
            };
            assert_eq!(n_entries(dir.path()), n);
        }

        fn makedev(major: u32, minor: u32) -> rustix::fs::Dev {
            rustix::fs::makedev(major, minor)
        }
    }
}
