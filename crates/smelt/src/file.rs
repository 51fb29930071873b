//! Small files: pictures and configurations read, and what is something else by its first bytes.

use std::io::Cursor;
use std::path::Path;

use safe_files::{FileKind, NamedFiles, kind_of};
use sd_runtime::image::{GreyImage, RgbImage};
use serde_json::Value;

use crate::error::{Context, Result, refuse};

/// Cap on a configuration, in bytes.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// Cap on the file of a picture, in bytes.
const MAX_PICTURE_BYTES: u64 = 1 << 30;

/// Reads a picture: PNG, JPEG or WebP.
///
/// # Errors
/// When the file cannot be read, and when it is something else, by its name.
pub fn read_picture(path: &Path) -> Result<RgbImage> {
    RgbImage::read(picture_bytes(path)?).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a picture, and how opaque its pixels are where the file says that some are not wholly.
///
/// # Errors
/// As [`read_picture`].
pub fn read_picture_with_alpha(path: &Path) -> Result<(RgbImage, Option<GreyImage>)> {
    let read = RgbImage::read_with_alpha(picture_bytes(path)?);
    let (picture, alpha) = read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok((picture, alpha.filter(|alpha| alpha.pixels().iter().any(|&opacity| opacity < u8::MAX))))
}

pub(crate) fn picture_bytes(path: &Path) -> Result<Cursor<Vec<u8>>> {
    let bytes = safe_files::read(path, MAX_PICTURE_BYTES)?;
    refuse_kind(path, &bytes, None)?;
    Ok(Cursor::new(bytes))
}

/// A file's name, without the folder.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Refuses what is known to be something else by its first bytes.
pub(crate) fn refuse_kind(path: &Path, bytes: &[u8], wanted: Option<FileKind>) -> Result<()> {
    match kind_of(bytes).filter(|kind| Some(*kind) != wanted) {
        Some(kind) => refuse!("{} is {kind}", path.display()),
        None => Ok(()),
    }
}

/// Reads a small JSON file of a checkpoint, if it is there.
pub(crate) fn json_if_present(files: &dyn NamedFiles, name: &str) -> Result<Option<Value>> {
    let Some(bytes) = files.read(name, MAX_JSON_BYTES)? else { return Ok(None) };
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", files.place(name).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        for (bytes, what) in
            [(pointer, "git lfs pull"), ("<html>", "HTML"), ("", "empty"), ("hello", "PNG, JPEG and WebP")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = {
                let error = read_picture(&path).unwrap_err();
                let because = std::error::Error::source(&error).map(ToString::to_string);
                format!("{error}: {}", because.unwrap_or_default())
            };
            assert!(error.contains("x.png") && error.contains(what), "{error}");
        }
    }
}
