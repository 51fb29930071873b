//! Small files: read with a cap on their size, written whole or not at all.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::interrupt::Writing;

/// Reads a file of at most `limit` bytes if there is one.
pub(crate) fn read_if_present(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(cannot)?,
    };
    let n_bytes = file.metadata().with_context(cannot)?.len();
    if n_bytes > limit {
        bail!("{} has {n_bytes} bytes, more than the {limit} that such a file may have", path.display());
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).with_context(cannot)?;
    Ok(Some(bytes))
}

/// Writes a file beside its target, flushes it to the disk, and moves it into place.
pub(crate) fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let _writing = Writing::begin();
    let mut builder = tempfile::Builder::new();
    builder.prefix(".smelt-");
    #[cfg(unix)]
    {
        // Temporary files are private by default; results are as readable as any file the user makes.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(parent(path)).with_context(cannot)?;
    {
        let mut buffered = std::io::BufWriter::new(file.as_file_mut());
        content(&mut buffered).with_context(cannot)?;
        buffered.flush().with_context(cannot)?;
    }
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

/// The directory that a file is to be written to.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Refuses an output whose directory is missing, before any work is done for it.
pub(crate) fn check_target(path: &Path) -> Result<()> {
    if path.is_dir() || path.file_name().is_none() {
        bail!("cannot write {}: it is a directory", path.display());
    }
    if !parent(path).is_dir() {
        bail!("cannot write {}: there is no directory {}", path.display(), parent(path).display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write(&path, |out| Ok(out.write_all(b"old")?)).unwrap();
        let error = write(&path, |out| {
            out.write_all(b"new")?;
            bail!("no more")
        });
        assert!(error.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn large_files_are_refused_by_name_and_missing_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_if_present(&path, 10).unwrap(), None);
        std::fs::write(&path, [0; 11]).unwrap();
        let error = read_if_present(&path, 10).unwrap_err().to_string();
        assert!(error.contains("x.json has 11 bytes, more than the 10"), "{error}");
    }
}
