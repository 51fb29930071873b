//! What was written to a folder as one archive (zip), as repositories of the Hub have bundles: stored as it is, in one folder.
//!
//! Weights do not get smaller by deflation, and programs unpack what is stored several times faster. Files are in the order
//! of their names, without times or owners, so the same folder gives the same bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use safe_files::OutputFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::{Context, Error, Result, refusal, refuse};
use crate::watch::{Event, Progress, Unit, Watch, Writing};

/// Files are copied in pieces of this size, between which the work may be stopped.
const PIECE_BYTES: usize = 1 << 22;
/// Permissions of everything in it.
const MODE: u32 = 0o644;

/// Writes these files and folders of a folder, under a folder of this name, whole or not at all; returns the archive's size.
pub(crate) fn write(
    (folder, contents): (&Path, &BTreeSet<String>),
    name: &str,
    to: &OutputFile,
    watch: &mut dyn Watch,
) -> Result<u64> {
    let mut files = Vec::new();
    for content in contents {
        let path = folder.join(content);
        let about = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match about.is_dir() {
            true => walk(folder, content, &mut files)?,
            false => files.push(Entry { name: content.clone(), n_bytes: about.len() }),
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
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

/// Names of what lies in a folder beside these contents, hidden files aside; of a folder that holds some of them, what is
/// beside those.
pub(crate) fn beside(folder: &Path, contents: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        for name in names(&folder.join(&below))? {
            let name = joined(&below, &name);
            if contents.contains(&name) {
                continue;
            }
            let holds_some =
                contents.iter().any(|content| content.strip_prefix(&name).is_some_and(|c| c.starts_with('/')));
            if holds_some { folders.push(name) } else { found.push(name) }
        }
    }
    found.sort();
    Ok(found)
}

/// Names in a folder; hidden ones are not among them.
fn names(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name();
        names.push(name.into_string().map_err(|name| refusal!("{}: {name:?} is not Unicode", folder.display()))?);
    }
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}

fn joined(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
}

/// Finds all files of a folder that was written whole: links in it are not from there, and may lead anywhere.
fn walk(root: &Path, below: &str, found: &mut Vec<Entry>) -> Result<()> {
    for name in names(&root.join(below))? {
        let name = joined(below, &name);
        let path = root.join(&name);
        if path.is_symlink() {
            refuse!("{} is a link, which no archive takes; remove it", path.display());
        }
        let about = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
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
        write((&dir.join("in"), &contents(&["a.txt", "b"])), "x_compiled", &to, watch)
    }

    fn contents(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_no_part_of_it_is_named_and_no_link_is_followed() {
        let dir = folder();
        let of = |names: &[&str]| beside(&dir.path().join("in"), &contents(names)).unwrap();
        assert!(of(&["a.txt", "b"]).is_empty());
        assert_eq!(of(&["b"]), ["a.txt"]);
        assert_eq!(of(&["a.txt", "b/c"]), ["b/empty"]);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", dir.path().join("in/b/out")).unwrap();
            let error = archive(dir.path(), "a.zip", &mut Unwatched).unwrap_err().to_string();
            assert!(error.contains("b/out is a link"), "{error}");
            assert_eq!(of(&["a.txt", "b/c"]), ["b/empty", "b/out"]);
        }
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
