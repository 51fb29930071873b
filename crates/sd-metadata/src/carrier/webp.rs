//! Chunks of WebP: `EXIF` and `XMP `.

use super::{Sink, exif, name, utf8_or_latin1, xmp};

/// Walks the chunks.
pub(super) fn walk(bytes: &[u8], sink: &mut Sink) {
    let mut rest = &bytes[12..];
    while !rest.is_empty() {
        let Some((head, after)) = rest.split_at_checked(8) else {
            return sink.fault(format!("the WebP file ends within the head of a chunk, {} bytes before", rest.len()));
        };
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some((data, after)) = after.split_at_checked(length) else {
            let (kind, left) = (name(&head[..4]), after.len());
            return sink.fault(format!("the WebP file is cut off: chunk {kind} has {length} bytes, {left} are there"));
        };
        match &head[..4] {
            // Some writers keep the head that only JPEG needs.
            b"EXIF" => exif::read(data.strip_prefix(exif::HEAD).unwrap_or(data), sink),
            b"XMP " => xmp::read(&utf8_or_latin1(data), sink),
            _ => {}
        }
        // Chunks are padded to an even length.
        rest = after.get(length % 2..).unwrap_or_default();
    }
}
