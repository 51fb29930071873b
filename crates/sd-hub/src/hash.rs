//! The hash that the Hub lists for a file: SHA-256 of what is stored as a large file, Git's of everything else.

use std::fs::File;
use std::io::{self, Read};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash of bytes that come one after another.
pub(crate) enum Hash {
    Sha256(Sha256),
    /// Git's hash of a blob: SHA-1 of a header with its length, and its bytes.
    Git(Sha1),
    /// Mirrors may have tags of their own.
    Unknown,
}

/// The hash that a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashKind {
    Sha256,
    Git,
    Unknown,
}

impl HashKind {
    pub(crate) fn of(etag: &str) -> Self {
        let is_hex = etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match (is_hex, etag.len()) {
            (true, 64) => Self::Sha256,
            (true, 40) => Self::Git,
            _ => Self::Unknown,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Git => "Git hash",
            Self::Unknown => "hash",
        }
    }
}

impl Hash {
    /// The hash that a tag is, of so many bytes.
    pub(crate) fn new(etag: &str, n_bytes: Option<u64>) -> Self {
        match (HashKind::of(etag), n_bytes) {
            (HashKind::Sha256, _) => Self::Sha256(Sha256::new()),
            (HashKind::Git, Some(n_bytes)) => Self::Git(Sha1::new_with_prefix(format!("blob {n_bytes}\0"))),
            _ => Self::Unknown,
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
            Self::Unknown => {}
        }
    }

    /// Adds a file to its end.
    pub(crate) fn add_file(&mut self, mut file: File, mut go_on: impl FnMut() -> bool) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        while go_on() {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.add(&buffer[..n]),
            }
        }
        Ok(())
    }

    /// In hexadecimal digits; `None` where there is none to compare with.
    pub(crate) fn finish(self) -> Option<String> {
        let bytes = match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Git(hash) => hash.finalize().to_vec(),
            Self::Unknown => return None,
        };
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_of_git() {
        let hash = |etag: &str, bytes: &[u8]| {
            let mut hash = Hash::new(etag, Some(bytes.len() as u64));
            bytes.chunks(3).for_each(|chunk| hash.add(chunk));
            hash.finish()
        };
        // printf 'hello\n' | sha256sum
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(hash(sha256, b"hello\n").as_deref(), Some(sha256));
        // printf 'hello\n' | git hash-object --stdin
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(hash(git, b"hello\n").as_deref(), Some(git));
        assert_eq!(hash("a-mirror", b"hello\n"), None);
    }
}
