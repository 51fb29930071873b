//! Files of the command line: named before any work, written as `safe_files` does.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use safe_files::{OutputFile, Outputs};
use smelt::image::PictureFormat;

use crate::interrupt::Writing;
use crate::report::Report;

/// Writes a file, whole or not at all where it is a regular one; what may wait for a reader can be interrupted.
pub(crate) fn write(output: &OutputFile, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let _writing = output.is_regular().then(Writing::begin);
    Ok(output.write(content)?)
}

/// Where what can be made again is kept, if the user says so: the model in the box, hashes of files.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    std::env::var_os("SMELT_CACHE").map(PathBuf::from)
}

/// A file's name without its extension, as a caption has it.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Names an output that is no text, which no terminal can show.
pub(crate) fn binary(
    outputs: &mut Outputs,
    option: &str,
    what: impl Into<Option<&'static str>>,
    path: &Path,
) -> Result<OutputFile> {
    let output = outputs.file_as(option, what, path)?;
    if output.is_stdout() && std::io::stdout().is_terminal() {
        bail!("{option} {} is this terminal, which cannot show it; send it to a file (> FILE)", path.display());
    }
    Ok(output)
}

/// The same for a picture, whose name says its format: a name that says one that is not written is refused.
pub(crate) fn picture(outputs: &mut Outputs, option: &str, path: &Path) -> Result<OutputFile> {
    if PictureFormat::of(path).is_none() {
        bail!(
            "{} is not named as a PNG, JPEG or WebP, as which pictures are written; {} would be",
            path.display(),
            path.with_extension("png").display()
        );
    }
    binary(outputs, option, "the picture", path)
}

/// Writes a picture in the format of its name, and says which of its texts were too long for that.
pub(crate) fn write_picture(
    output: &OutputFile,
    content: impl FnOnce(&mut dyn Write, PictureFormat) -> Result<Vec<String>>,
    report: &Report,
) -> Result<()> {
    let mut left = Vec::new();
    let format = PictureFormat::of(output.path()).unwrap_or_default();
    write(output, |out| {
        left = content(out, format)?;
        Ok(())
    })?;
    if !left.is_empty() {
        report.warn(format_args!(
            "{output} does not say all of how it was made, which is too long for a JPEG: {}; a PNG or WebP holds it",
            left.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_named_by_formats_that_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str| picture(&mut Outputs::new(), "-o", &dir.path().join(name));
        for name in ["x.png", "x", "x.PNG", "v1.5", "x.jpg", "x.JPEG", "x.webp"] {
            check(name).unwrap();
        }
        let error = check("x.AVIF").unwrap_err().to_string();
        assert!(
            error.contains("x.AVIF is not named as a PNG, JPEG or WebP") && error.contains("x.png would be"),
            "{error}"
        );
        let error = check("").unwrap_err().to_string();
        assert!(error.contains("it is a directory; give the name of a file in it"), "{error}");
        let error = check("no/x.png").unwrap_err().to_string();
        assert!(error.contains("mkdir -p"), "{error}");
    }
}
