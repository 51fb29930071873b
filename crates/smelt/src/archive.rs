//! A folder as one archive (zip), as repositories of the Hub have bundles: everything stored as it is, in one folder.
//!
//! Weights do not get smaller by deflation, and programs unpack what is stored several times faster. Files are in the order
//! of their names, without times or owners, so the same folder gives the same bytes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use safe_files::OutputFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::{Context, Error, Result, refusal};
use crate::watch::{Event, Progress, Unit, Watch, Writing};

/// Files are copied in pieces of this size, between which the work may be stopped.
const PIECE_BYTES: usize = 1 << 22;
/// Permissions of everything in it.
const MODE: u32 = 0o644;

/// Writes all files of a folder, under a folder of this name, whole or not at all; returns the archive's size.
pub(crate) fn write(folder: &Path, name: &str, to: &OutputFile, watch: &mut dyn Watch) -> Result<u64> {
    let mut files = Vec::new();
    walk(folder, "", &mut files)?;
    let total = files.iter().map(|file| file.n_bytes).sum();
    let mut writing = Writing::begin(watch);
    let mut copier = Copier { watch: writing.watch(), done: 0, total, is_stopped: false };
    let written = to.write_seekable(|out| copier.all(folder, name, &files, out));
    if copier.is_stopped {
        return Err(Error::Stopped);
    }
    written?;
    Ok(std::fs::metadata(to.path()).with_context(|| format!("cannot read {}", to.path().display()))?.len())
}

/// A file of the folder.
struct Entry {
    /// Its path from there, parted by slashes.
    name: String,
    n_bytes: u64,
}

/// Finds all files, in the order of their names; hidden ones are no part of it.
fn walk(root: &Path, below: &str, found: &mut Vec<Entry>) -> Result<()> {
    let folder = root.join(below);
    let cannot = || format!("cannot read {}", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        entries.push(name.into_string().map_err(|name| refusal!("{}: {name:?} is not Unicode", folder.display()))?);
    }
    entries.retain(|name| !name.starts_with('.'));
    entries.sort();
    for entry in entries {
        let name = if below.is_empty() { entry } else { format!("{below}/{entry}") };
        let about = std::fs::metadata(root.join(&name)).with_context(|| format!("cannot read {name}"))?;
        match about.is_dir() {
            true => walk(root, &name, found)?,
            false => found.push(Entry { name, n_bytes: about.len() }),
        }
    }
    Ok(())
}

/// Copies files into the archive while somebody looks on.
struct Copier<'w> {
    watch: &'w mut dyn Watch,
    done: u64,
    total: u64,
    is_stopped: bool,
}

impl Copier<'_> {
    fn all(&mut self, root: &Path, name: &str, files: &[Entry], out: &mut BufWriter<&mut File>) -> Result<()> {
        let mut archive = ZipWriter::new(out);
        let failed = |error: zip::result::ZipError| Error::from(std::io::Error::other(error));
        for file in files {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(DateTime::default())
                .unix_permissions(MODE)
                .large_file(file.n_bytes >= u64::from(u32::MAX));
            archive.start_file(format!("{name}/{}", file.name), options).map_err(failed)?;
            self.copy(&root.join(&file.name), &mut archive)?;
        }
        archive.finish().map_err(failed)?;
        Ok(())
    }

    fn copy(&mut self, from: &Path, out: &mut impl Write) -> Result<()> {
        let cannot = || format!("cannot read {}", from.display());
        let mut file = File::open(from).with_context(cannot)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n_bytes = file.read(&mut piece).with_context(cannot)?;
            if n_bytes == 0 {
                return Ok(());
            }
            out.write_all(&piece[..n_bytes])?;
            self.done += n_bytes as u64;
            let at = Progress { what: "archive", done: self.done, total: self.total, unit: Unit::Bytes };
            if self.watch.event(Event::Progress(at)).is_break() {
                self.is_stopped = true;
                return Err(Error::Stopped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use safe_files::Outputs;

    use super::*;
    use crate::watch::Unwatched;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("b/c/w.bin", &[7; 5000][..]), ("a.txt", b"a"), ("b/.hidden", b"x"), ("b/empty", b"")] {
            let path = dir.path().join("in").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn archive(dir: &Path, name: &str, watch: &mut dyn Watch) -> Result<u64> {
        let to = Outputs::new().file("--zip", &dir.join(name)).unwrap();
        write(&dir.join("in"), "x_compiled", &to, watch)
    }

    #[test]
    fn files_are_stored_in_one_folder_and_the_bytes_are_the_same_again() {
        let dir = folder();
        let n_bytes = archive(dir.path(), "a.zip", &mut Unwatched).unwrap();
        archive(dir.path(), "b.zip", &mut Unwatched).unwrap();
        let [a, b] = ["a.zip", "b.zip"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
        assert!(a == b && a.len() as u64 == n_bytes);
        let mut read = zip::ZipArchive::new(std::io::Cursor::new(a)).unwrap();
        let names: Vec<String> = read.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["x_compiled/a.txt", "x_compiled/b/c/w.bin", "x_compiled/b/empty"]);
        let mut weights = read.by_name("x_compiled/b/c/w.bin").unwrap();
        assert_eq!((weights.compression(), weights.unix_mode()), (CompressionMethod::Stored, Some(0o100_644)));
        let mut bytes = Vec::new();
        weights.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 5000]);
    }

    #[test]
    fn nothing_is_left_of_an_archive_that_is_broken_off() {
        let dir = folder();
        let mut stop = |event: Event<'_>| match event {
            Event::Progress(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        assert!(matches!(archive(dir.path(), "a.zip", &mut stop), Err(Error::Stopped)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
