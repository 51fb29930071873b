//! Files of the command line: named before any work, written as `safe_files` does.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use safe_files::{OutputFile, Outputs};

use crate::interrupt::Writing;

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

/// The same for a picture, which is written as PNG whatever its name: a name that says otherwise is refused.
pub(crate) fn picture(outputs: &mut Outputs, option: &str, path: &Path) -> Result<OutputFile> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    if ["jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"].contains(&extension.as_str()) {
        bail!(
            "{} is not named as a PNG, and pictures are written as PNG; {} would be",
            path.display(),
            path.with_extension("png").display()
        );
    }
    binary(outputs, option, "the picture", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_png_and_names_that_say_otherwise_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str| picture(&mut Outputs::new(), "-o", &dir.path().join(name));
        for name in ["x.png", "x", "x.PNG", "v1.5"] {
            check(name).unwrap();
        }
        let error = check("x.JPG").unwrap_err().to_string();
        assert!(error.contains("x.JPG is not named as a PNG") && error.contains("x.png would be"), "{error}");
        let error = check("").unwrap_err().to_string();
        assert!(error.contains("it is a directory; give the name of a file in it"), "{error}");
        let error = check("no/x.png").unwrap_err().to_string();
        assert!(error.contains("mkdir -p"), "{error}");
    }
}
