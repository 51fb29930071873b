//! Small files: pictures read, and files written whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use sd_runtime::image::RgbImage;

use crate::interrupt::Writing;

/// Reads a picture of any kind that is understood.
pub(crate) fn read_picture(path: &Path) -> Result<RgbImage> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    RgbImage::read(std::io::BufReader::new(file)).with_context(cannot)
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

/// A file's name without its extension, as a caption has it.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Refuses an output whose directory is missing, before any work is done for it.
pub(crate) fn check_target(path: &Path) -> Result<()> {
    if path.is_dir() || path.file_name().is_none() {
        bail!("cannot write {}: it is a directory; give the name of a file in it", path.display());
    }
    let parent = parent(path);
    if !parent.is_dir() {
        bail!(
            "cannot write {}: there is no directory {1}; make it first (mkdir -p {1}), or give another",
            path.display(),
            parent.display()
        );
    }
    Ok(())
}

/// The same for a picture, which is written as PNG whatever its name: a name that says otherwise is refused.
pub(crate) fn check_picture(path: &Path) -> Result<()> {
    check_target(path)?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    if ["jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"].contains(&extension.as_str()) {
        bail!(
            "{} is not named as a PNG, and pictures are written as PNG; {} would be",
            path.display(),
            path.with_extension("png").display()
        );
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
    fn pictures_are_png_and_names_that_say_otherwise_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.png", "x", "x.PNG", "v1.5"] {
            check_picture(&dir.path().join(name)).unwrap();
        }
        let error = check_picture(&dir.path().join("x.JPG")).unwrap_err().to_string();
        assert!(error.contains("x.JPG is not named as a PNG") && error.contains("x.png would be"), "{error}");
        let error = check_picture(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it is a directory; give the name of a file in it"), "{error}");
        let error = check_picture(&dir.path().join("no/x.png")).unwrap_err().to_string();
        assert!(error.contains("mkdir -p"), "{error}");
    }
}
