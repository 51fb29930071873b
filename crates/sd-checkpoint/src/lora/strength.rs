//! How strongly a LoRA is applied, as people write it behind its name.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::hub::Cache;
use crate::{Source, lookup};

/// Endings of the files that a name may stand for.
const ENDINGS: &[&str] = &["safetensors", "bin", "pt", "ckpt"];

/// Factors of what a LoRA adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Of the denoiser.
    pub denoiser: f32,
    /// Of text encoders.
    pub text: f32,
}

impl Default for Strength {
    fn default() -> Self {
        Self { denoiser: 1.0, text: 1.0 }
    }
}

/// A LoRA as it is asked for: `FILE[:weight[:text-weight]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// A file, a name to be looked up, or a reference to the Hub (`hf:owner/name[@revision][/path]`).
    pub file: PathBuf,
    /// How strongly.
    pub strength: Strength,
}

impl Asked {
    /// Reads `FILE[:weight[:text-weight]]`; numbers are split off from the right, for a path may have colons too.
    ///
    /// The text encoders' weight is the denoiser's where it is not given.
    ///
    /// # Errors
    /// For an empty name, for what begins as a reference to the Hub and is none, and for weights that are not finite.
    pub fn read(text: &OsStr) -> Result<Self, String> {
        let Some(text) = text.to_str() else { return Ok(Self { file: text.into(), strength: Strength::default() }) };
        let (rest, last) = split_number(text)?;
        let (file, first) = match last {
            Some(_) => split_number(rest)?,
            None => (rest, None),
        };
        if file.is_empty() {
            return Err(format!("{text:?} names no file; a LoRA is given as FILE[:weight[:text-weight]]"));
        }
        file.parse::<Source>()?;
        let denoiser = first.or(last).unwrap_or(1.0);
        let strength = Strength { denoiser, text: last.unwrap_or(denoiser) };
        Ok(Self { file: PathBuf::from(file), strength })
    }

    /// The files of a folder that names are looked up among, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        lookup::files(folder, ENDINGS)
    }

    /// What prompts call it by: the name of its file without the ending.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        lookup::stem(&self.file, ENDINGS)
    }

    /// The reference to the Hub, where it is one; then the file must be in its cache before it is found.
    #[must_use]
    pub fn hub(&self) -> Option<Source> {
        self.file.to_str()?.parse().ok().filter(|source| matches!(source, Source::Hub { .. }))
    }

    /// The file, that of this name in a folder, or where the Hub's cache has it.
    ///
    /// # Errors
    /// With what the folder holds, when there is none, and when it is not in the cache.
    pub fn find(&self, folder: Option<&Path>) -> Result<PathBuf, String> {
        match self.hub() {
            Some(source) => Cache::standard().locate(&source).map_err(|error| error.to_string()),
            None => lookup::find(&self.file, folder, ENDINGS),
        }
    }
}

impl fmt::Display for Asked {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strength { denoiser, text } = self.strength;
        write!(f, "{}:{denoiser}", self.file.display())?;
        if text == denoiser { Ok(()) } else { write!(f, ":{text}") }
    }
}

/// The text before the last colon and the number behind it; a drive's colon has no number behind it.
fn split_number(text: &str) -> Result<(&str, Option<f32>), String> {
    let Some((head, tail)) = text.rsplit_once(':') else { return Ok((text, None)) };
    match tail.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok((head, Some(number))),
        Ok(number) => Err(format!("the weight {number} of {head} is not finite")),
        Err(_) => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, file: &str, denoiser: f32, of_text: f32) {
        let strength = Strength { denoiser, text: of_text };
        assert_eq!(Asked::read(OsStr::new(text)), Ok(Asked { file: file.into(), strength }));
    }

    #[test]
    fn numbers_are_split_off_from_the_right() {
        check("x.safetensors", "x.safetensors", 1.0, 1.0);
        check("x.safetensors:0.8", "x.safetensors", 0.8, 0.8);
        check("x:0.8:-0.5", "x", 0.8, -0.5);
        check("x:-1", "x", -1.0, -1.0);
        check("x:0:1", "x", 0.0, 1.0);
        check(r"C:\loras\x.safetensors:0.8", r"C:\loras\x.safetensors", 0.8, 0.8);
        check(r"C:\x.safetensors:0.8:1", r"C:\x.safetensors", 0.8, 1.0);
        check(r"C:\x.safetensors", r"C:\x.safetensors", 1.0, 1.0);
        check("a:b:2", "a:b", 2.0, 2.0);
        check("a:1:2:3", "a:1", 2.0, 3.0);
        check("x:1e-1", "x", 0.1, 0.1);
    }

    #[test]
    fn references_to_the_hub_are_told_from_files() {
        for (text, source, weight) in [
            ("hf:a/b", "hf:a/b", 1.0),
            ("hf:a/b:0.5", "hf:a/b", 0.5),
            ("hf:a/b@v1/x/y.safetensors:-2:3", "hf:a/b@v1/x/y.safetensors", -2.0),
        ] {
            let asked = Asked::read(OsStr::new(text)).unwrap();
            assert_eq!((asked.hub().unwrap().to_string(), asked.strength.denoiser), (source.to_owned(), weight));
        }
        assert_eq!(Asked::read(OsStr::new("a/b:0.5")).unwrap().hub(), None);
        assert!(Asked::read(OsStr::new("hf:a")).unwrap_err().contains("hf:owner/name"));
    }

    #[test]
    fn what_is_no_file_or_no_number_is_refused() {
        for bad in ["", ":0.8", ":1:1", "x:inf", "x:nan", "x:1e99"] {
            assert!(Asked::read(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_looked_up_in_a_folder_by_stem() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["add_detail.safetensors", "v1.5.safetensors", "note.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let find = |name: &str| Asked::read(OsStr::new(name))?.find(Some(dir.path()));
        assert_eq!(find("add_detail"), Ok(dir.path().join("add_detail.safetensors")));
        assert_eq!(find("v1.5"), Ok(dir.path().join("v1.5.safetensors")));
        assert_eq!(find("v1.5.safetensors"), Ok(dir.path().join("v1.5.safetensors")));
        let error = find("note").unwrap_err();
        assert!(error.contains("which holds add_detail, v1.5"), "{error}");
    }
}
