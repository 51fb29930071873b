//! A file of new words as people write it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::lookup::{files, find, stem};

/// What ends the names of such files.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "bin"];

/// A file of new words as it is asked for: `FILE`, or `FILE=WORD` for another word than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingAsked(OsString);

impl EmbeddingAsked {
    /// Takes the text.
    ///
    /// # Errors
    /// For one that names no file, or no word behind `=`.
    pub fn read(text: &OsStr) -> Result<Self, String> {
        let (file, word) = text.to_str().map_or(("?", None), split);
        match file.is_empty() || word.is_some_and(|word| word.trim().is_empty()) {
            true => Err(format!("{text:?} names no file, or no word behind it: it is given as FILE or FILE=WORD")),
            false => Ok(Self(text.to_owned())),
        }
    }

    /// Those of a folder, each with the word that its file is named by.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all_in(folder: &Path) -> std::io::Result<Vec<(String, Self)>> {
        let mut words: Vec<String> =
            files(folder, &ENDINGS)?.iter().filter_map(|path| stem(path, &ENDINGS)).map(str::to_owned).collect();
        words.dedup();
        Ok(words.into_iter().map(|word| (word.clone(), Self(format!("{word}={word}").into()))).collect())
    }

    /// The file as it is given, and the word that it shall have, if one is said.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let (file, word) = self.0.to_str().map_or(("", None), split);
        [Some(file), word].into_iter().flatten().collect()
    }

    /// Whether it gives a word: that which it shall have, or that which its file is named by.
    #[must_use]
    pub fn is_called(&self, word: &str) -> bool {
        self.names().into_iter().any(|name| name == word || stem(Path::new(name), &ENDINGS) == Some(word))
    }

    /// The file, or that of this name in a folder, and the word that it shall have; a file whose own name has a `=` in it
    /// is that file.
    ///
    /// # Errors
    /// With what the folder holds, when there is neither.
    pub fn find(&self, folder: Option<&Path>) -> Result<(PathBuf, Option<String>), String> {
        let whole = find(Path::new(&self.0), folder, &ENDINGS);
        match (whole, self.0.to_str().map(split)) {
            (Ok(path), _) => Ok((path, None)),
            (Err(_), Some((file, Some(word)))) => {
                find(Path::new(file), folder, &ENDINGS).map(|path| (path, Some(word.to_owned())))
            }
            (Err(what), _) => Err(what),
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.rsplit_once('=').map_or((text, None), |(file, word)| (file, Some(word)))
}

impl fmt::Display for EmbeddingAsked {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_behind_the_last_equals_sign() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cat.pt", "a=b.safetensors"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let find = |text: &str| {
            let found = EmbeddingAsked::read(OsStr::new(text)).unwrap().find(Some(dir.path()));
            found.map(|(path, word)| (path.file_name().unwrap().to_str().unwrap().to_owned(), word))
        };
        assert_eq!(find("cat"), Ok(("cat.pt".into(), None)));
        assert_eq!(find("cat.pt=<cat>"), Ok(("cat.pt".into(), Some("<cat>".into()))));
        assert_eq!(find("a=b"), Ok(("a=b.safetensors".into(), None)));
        // A drive's letter is no word.
        assert_eq!(split(r"C:\toys\cat.pt=<cat>"), (r"C:\toys\cat.pt", Some("<cat>")));
        assert_eq!(split(r"C:\toys\cat.pt"), (r"C:\toys\cat.pt", None));
        assert_eq!(find("a=b=c"), Ok(("a=b.safetensors".into(), Some("c".into()))));
        let error = find("dog=x").unwrap_err();
        assert!(error.contains("dog is neither a file nor in ") && error.contains("a=b, cat"), "{error}");
        for bad in ["", "=x", "cat=", "cat= "] {
            assert!(EmbeddingAsked::read(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
