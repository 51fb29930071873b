//! Chunks of PNG: `tEXt`, `zTXt`, `iTXt` (XMP among them) and `eXIf`, before and after the picture.
//!
//! PNG specification, third edition, 11.3.3: keyword, NUL, then what the kind of chunk has.

use std::io::Read;

use flate2::{Crc, read::ZlibDecoder};

use super::{Carrier, MAX_TEXT_BYTES, Sink, exif, name, utf8_or_latin1, xmp};

/// How every PNG file begins.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The keyword of XMP.
const XMP: &str = "XML:com.adobe.xmp";

/// Walks the chunks.
pub(super) fn walk(bytes: &[u8], sink: &mut Sink) {
    let mut rest = &bytes[SIGNATURE.len()..];
    while !rest.is_empty() {
        let Some((head, after)) = rest.split_at_checked(8) else {
            return sink.fault(format!("the PNG file ends within the head of a chunk, {} bytes before", rest.len()));
        };
        let kind = &head[4..];
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((data, after)) = after.split_at_checked(length) else {
            let left = after.len();
            return sink
                .fault(format!("the PNG file is cut off: chunk {} has {length} bytes, {left} are there", name(kind)));
        };
        let (sum, after) = after.split_at(after.len().min(4));
        if matches!(kind, b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf") {
            let mut crc = Crc::new();
            crc.update(kind);
            crc.update(data);
            if sum != crc.sum().to_be_bytes() {
                sink.fault(format!("chunk {}: its checksum is wrong; it was read all the same", name(kind)));
            }
            chunk(kind, data, sink);
        }
        if kind == b"IEND" {
            return;
        }
        rest = after;
    }
    sink.fault("the PNG file ends without IEND: it is cut off".to_owned());
}

/// Reads one chunk that may hold texts.
fn chunk(kind: &[u8], data: &[u8], sink: &mut Sink) {
    if kind == b"eXIf" {
        return exif::read(data, sink);
    }
    let Some((keyword, rest)) = until_nul(data) else {
        return sink.fault(format!("chunk {}: no NUL behind its keyword", name(kind)));
    };
    let keyword = utf8_or_latin1(keyword);
    let text = match kind {
        b"tEXt" => Ok(utf8_or_latin1(rest)),
        b"zTXt" => compressed(rest).map(|bytes| utf8_or_latin1(&bytes)),
        _ => international(rest),
    };
    match text {
        Ok(text) if keyword == XMP => xmp::read(&text, sink),
        Ok(text) => sink.text(Carrier::Png, &keyword, text),
        Err(fault) => sink.fault(format!("{keyword} in chunk {}: {fault}", name(kind))),
    }
}

/// What follows an `iTXt` chunk's keyword: whether and how it is compressed, language, translated keyword, text.
fn international(rest: &[u8]) -> Result<String, String> {
    let cut = || "it ends before its text".to_owned();
    let (&[flag, method], rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (_language, rest) = until_nul(rest).ok_or_else(cut)?;
    let (_translated, text) = until_nul(rest).ok_or_else(cut)?;
    let text = match (flag, method) {
        (0, _) => text.to_vec(),
        (1, 0) => inflate(text)?,
        _ => return Err(format!("compression flag {flag} and method {method}; only 0, and 1 with 0, are defined")),
    };
    String::from_utf8(text).map_err(|error| format!("not UTF-8: {}", error.utf8_error()))
}

/// What follows a `zTXt` chunk's keyword.
fn compressed(rest: &[u8]) -> Result<Vec<u8>, String> {
    match rest.split_first() {
        Some((0, packed)) => inflate(packed),
        Some((method, _)) => Err(format!("compression method {method}; only 0 is defined")),
        None => Err("it ends before its text".to_owned()),
    }
}

/// Unpacks zlib's format, up to the cap.
fn inflate(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let mut unpacked = ZlibDecoder::new(packed).take(MAX_TEXT_BYTES as u64 + 1);
    unpacked.read_to_end(&mut text).map_err(|error| format!("cannot be unpacked: {error}"))?;
    match text.len() > MAX_TEXT_BYTES {
        true => Err(format!("unpacks to more than the {MAX_TEXT_BYTES} bytes that are read")),
        false => Ok(text),
    }
}

/// What stands before the first NUL, and what behind it.
fn until_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}
