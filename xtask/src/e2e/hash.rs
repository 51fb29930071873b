//! Names what was made by its bytes: SHA-256 of a file, or of a folder's files with their names.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// What something is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// Of bytes, or a text's.
pub(crate) fn of_bytes(bytes: impl AsRef<[u8]>) -> Content {
    let bytes = bytes.as_ref();
    Content { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) }
}

/// Of one file.
pub(crate) fn of_file(path: &Path) -> Result<Content> {
    let mut sha = Sha256::new();
    let bytes = feed(path, &mut sha)?;
    Ok(Content { bytes, sha256: hex(&sha.finalize()) })
}

/// Of a folder: each file's name below it, size and bytes, in the order of the names.
pub(crate) fn of_folder(folder: &Path) -> Result<Content> {
    of_files(folder, &files_below(folder)?)
}

/// Of some files below a folder, with their names.
pub(crate) fn of_files(folder: &Path, files: &[PathBuf]) -> Result<Content> {
    let (mut sha, mut total) = (Sha256::new(), 0);
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let bytes = fs::metadata(path)?.len();
        sha.update(format!("{}\0{name}\0{bytes}\0", name.len()));
        total += feed(path, &mut sha)?;
    }
    Ok(Content { bytes: total, sha256: hex(&sha.finalize()) })
}

/// Every file below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { &mut folders } else { &mut files }.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn feed(path: &Path, sha: &mut Sha256) -> Result<u64> {
    let read = File::open(path).and_then(|mut file| io::copy(&mut file, sha));
    read.with_context(|| format!("cannot read {}", path.display()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_the_hash_of_its_bytes() {
        // The example of FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes("abc"), Content { bytes: 3, sha256: known.into() });
    }

    #[test]
    fn a_folder_is_its_names_and_bytes_and_not_its_place() {
        let make = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, text) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            of_folder(folder.path()).expect("readable").sha256
        };
        let one = make(&[("a/x", "1"), ("b", "2")]);
        assert_eq!(one, make(&[("b", "2"), ("a/x", "1")]));
        for other in [&[("a/x", "2"), ("b", "1")][..], &[("a/y", "1"), ("b", "2")], &[("a/x", "1")]] {
            assert_ne!(one, make(other), "{other:?}");
        }
    }
}
