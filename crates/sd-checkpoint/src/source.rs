//! Where a checkpoint comes from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What people name when they name a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A folder: a checkpoint in diffusers layout, or the cache of one.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
    /// A repository of the Hub.
    Hub {
        /// `owner/name`.
        id: String,
        /// A branch, tag or commit.
        revision: Option<String>,
        /// A file or folder in it.
        path: Option<PathBuf>,
    },
}

/// How a reference to the Hub begins.
const HUB: &str = "hf:";

impl Source {
    /// The path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) | Self::File(path) => Some(path),
            Self::Hub { .. } => None,
        }
    }
}

impl From<&Path> for Source {
    /// A file where there is one, else a folder.
    fn from(path: &Path) -> Self {
        match path.is_file() {
            true => Self::File(path.to_owned()),
            false => Self::Folder(path.to_owned()),
        }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl TryFrom<&str> for Source {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<OsString> for Source {
    type Error = String;

    /// The same; a path need not be text.
    fn try_from(text: OsString) -> Result<Self, Self::Error> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(PathBuf::from(text).into()),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    /// `hf:owner/name[@revision][/path]`, or a path.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let Some(reference) = s.strip_prefix(HUB) else { return Ok(Self::from(Path::new(s))) };
        let fail = || format!("{s:?} is no reference to the Hub; it looks like {HUB}owner/name[@revision][/path]");
        let (owner, rest) = reference.split_once('/').ok_or_else(fail)?;
        let (name, path) = rest.split_once('/').map_or((rest, None), |(name, path)| (name, Some(path)));
        let (name, revision) = name.split_once('@').map_or((name, None), |(name, revision)| (name, Some(revision)));
        let parts = [Some(owner), Some(name), revision, path];
        if parts.into_iter().flatten().any(|part| part.is_empty() || part.split('/').any(|p| p == "..")) {
            return Err(fail());
        }
        Ok(Self::Hub {
            id: format!("{owner}/{name}"),
            revision: revision.map(str::to_owned),
            path: path.map(PathBuf::from),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Hub { id, revision, path } => {
                write!(f, "{HUB}{id}")?;
                revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
                path.iter().try_for_each(|path| write!(f, "/{}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_the_hub_are_read_and_written_back() {
        let hub = |id: &str, revision: Option<&str>, path: Option<&str>| Source::Hub {
            id: id.into(),
            revision: revision.map(str::to_owned),
            path: path.map(PathBuf::from),
        };
        for (text, source) in [
            ("hf:a/b", hub("a/b", None, None)),
            ("hf:a/b@v1.0", hub("a/b", Some("v1.0"), None)),
            ("hf:a/b@main/x/y.safetensors", hub("a/b", Some("main"), Some("x/y.safetensors"))),
            ("hf:a/b/x", hub("a/b", None, Some("x"))),
        ] {
            assert_eq!(text.parse(), Ok(source.clone()));
            assert_eq!(source.to_string(), text);
        }
        for bad in ["hf:", "hf:a", "hf:/b", "hf:a/", "hf:a/b@", "hf:a/b/", "hf:a/b/../c", "hf:../b"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_else_is_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.ckpt");
        std::fs::write(&file, "").unwrap();
        assert_eq!(Source::from(dir.path()), Source::Folder(dir.path().to_owned()));
        assert_eq!(Source::from(&file), Source::File(file));
        // A drive's letter, and a reference to the Hub without its `hf:`.
        for path in ["no/such", r"C:\models\x.safetensors", "C:/models/x", r"\\server\share\x.ckpt", "h:x", "HF:a/b"] {
            assert_eq!(path.parse(), Ok(Source::Folder(path.into())));
        }
    }
}
