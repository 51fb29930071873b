//! What a file is by its first bytes, for messages: people give files that were cut off, packed, or never fetched.

use std::fmt;

/// Bytes that [`kind_of`] looks at.
const HEAD_BYTES: usize = 512;

/// A kind of file that often stands where another is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// What `git clone` leaves without Git LFS: a few lines of text in place of a large file.
    LfsPointer,
    /// A zip archive, which a `.ckpt`, `.pt` or `.bin` of PyTorch is too.
    Zip,
    /// A bare Python pickle: `.ckpt`, `.pt` and `.bin` before PyTorch 1.6.
    Pickle,
    /// A gzip stream.
    Gzip,
    /// A page of HTML: a download that answered with a page.
    Html,
    /// A safetensors file.
    Safetensors,
    /// Nothing at all.
    Empty,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LfsPointer => {
                "a Git LFS pointer, not the file itself: run git lfs install, then git lfs pull, in the clone"
            }
            Self::Zip => "a zip archive; if it is a model that was packed, unpack it first",
            Self::Pickle => "a Python pickle",
            Self::Gzip => "compressed with gzip; unpack it first",
            Self::Html => "a page of HTML, not the file: the download answered with a page; fetch it again",
            Self::Safetensors => "a safetensors file",
            Self::Empty => "empty",
        })
    }
}

/// The kind of a file that begins with these bytes, if it is one of [`FileKind`].
#[must_use]
pub fn kind_of(bytes: &[u8]) -> Option<FileKind> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let is = |start: &[u8]| head.starts_with(start);
    if head.is_empty() {
        Some(FileKind::Empty)
    } else if is_safetensors(head) {
        // Before the others: its length may begin with their first two bytes, and none of them goes on as it does.
        Some(FileKind::Safetensors)
    } else if is(b"version https://git-lfs.github.com/spec/") {
        // Git LFS specification: the first line is the version, and a pointer has less than 1024 bytes.
        (bytes.len() < 1024).then_some(FileKind::LfsPointer)
    } else if is(b"PK\x03\x04") || is(b"PK\x05\x06") {
        Some(FileKind::Zip)
    } else if is(b"\x1f\x8b") {
        Some(FileKind::Gzip)
    } else if matches!(head, [0x80, 2..=5, ..]) {
        Some(FileKind::Pickle)
    } else if is_html(head) {
        Some(FileKind::Html)
    } else {
        None
    }
}

fn is_html(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let begins = |tag: &str| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
    begins("<!doctype html") || begins("<html")
}

/// The length of a JSON header, then the header.
fn is_safetensors(head: &[u8]) -> bool {
    let length = head.first_chunk::<8>().map(|n| u64::from_le_bytes(*n));
    length.is_some_and(|n| (2..1 << 30).contains(&n)) && head.get(8) == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        for (bytes, kind) in [
            (pointer.as_bytes(), Some(FileKind::LfsPointer)),
            (b"PK\x03\x04rest", Some(FileKind::Zip)),
            (b"\x80\x02}q\x00", Some(FileKind::Pickle)),
            (b"\x1f\x8b\x08", Some(FileKind::Gzip)),
            (b"\n<!DOCTYPE html><html>", Some(FileKind::Html)),
            (b"\x02\0\0\0\0\0\0\0{}", Some(FileKind::Safetensors)),
            (b"\x80\x02\0\0\0\0\0\0{\"a", Some(FileKind::Safetensors)),
            (b"\x1f\x8b\0\0\0\0\0\0{\"a", Some(FileKind::Safetensors)),
            (b"\x80\x02X\x01\0\0\0{q", Some(FileKind::Pickle)),
            (b"", Some(FileKind::Empty)),
            (b"{\"a\": 1}", None),
            (b"\x80", None),
            (b"version 1.0", None),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_text_that_begins_like_a_pointer_is_none() {
        let mut text = b"version https://git-lfs.github.com/spec/v1\n".to_vec();
        text.resize(5000, b'x');
        assert_eq!(kind_of(&text), None);
    }
}
