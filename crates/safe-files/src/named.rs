//! Small files by name, in a folder or wherever else somebody has them.

use std::path::{Path, PathBuf};

use crate::read::{ReadError, read_if_present};

/// Small files by name; names have `/` between folders.
pub trait NamedFiles {
    /// The bytes of a file of at most `limit` bytes, without a byte order mark; `None` when there is no such file.
    ///
    /// # Errors
    /// As [`read`](crate::read).
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError>;

    /// Whether there is a file, or a folder, of this name.
    fn has(&self, name: &str) -> bool;

    /// Where a file is, or would be, for messages.
    fn place(&self, name: &str) -> PathBuf;

    /// As [`NamedFiles::read`], for text in UTF-8.
    ///
    /// # Errors
    /// As [`NamedFiles::read`], and [`ReadError::NotText`].
    fn read_text(&self, name: &str, limit: u64) -> Result<Option<String>, ReadError> {
        let Some(bytes) = self.read(name, limit)? else { return Ok(None) };
        let not_text = |at| ReadError::NotText { path: self.place(name), at };
        String::from_utf8(bytes).map(Some).map_err(|e| not_text(e.utf8_error().valid_up_to()))
    }
}

/// Those of a folder.
#[derive(Debug, Clone, Copy)]
pub struct Folder<'a>(pub &'a Path);

impl NamedFiles for Folder<'_> {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        read_if_present(&self.0.join(name), limit)
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    fn place(&self, name: &str) -> PathBuf {
        // Joining nothing adds a slash.
        if name.is_empty() { self.0.to_owned() } else { self.0.join(name) }
    }
}

/// Those below a folder of others.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// All of them.
    pub files: &'a dyn NamedFiles,
    /// The folder's name.
    pub folder: &'a str,
}

impl std::fmt::Debug for Below<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Below({})", self.files.place(self.folder).display())
    }
}

impl Below<'_> {
    fn whole(&self, name: &str) -> String {
        match name {
            "" => self.folder.to_owned(),
            name => format!("{}/{name}", self.folder),
        }
    }
}

impl NamedFiles for Below<'_> {
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.files.read(&self.whole(name), limit)
    }

    fn has(&self, name: &str) -> bool {
        self.files.has(&self.whole(name))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.files.place(&self.whole(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_are_read_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b.json"), b"\xef\xbb\xbf{}").unwrap();
        std::fs::write(dir.path().join("a/c"), [b'x', 0xff]).unwrap();
        let folder = Folder(dir.path());
        let below = Below { files: &folder, folder: "a" };
        assert_eq!(below.read("b.json", 9).unwrap().as_deref(), Some(&b"{}"[..]));
        assert_eq!(below.read("x", 9).unwrap(), None);
        assert!(below.has("c") && !below.has("x") && folder.has("a"));
        assert!(matches!(below.read_text("c", 9), Err(ReadError::NotText { at: 1, .. })));
        assert_eq!(below.place("c"), dir.path().join("a/c"));
        assert_eq!(below.place(""), dir.path().join("a"));
        assert_eq!(folder.place("").as_os_str(), dir.path().as_os_str());
    }
}
