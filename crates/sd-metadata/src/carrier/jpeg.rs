//! Segments of JPEG, up to the picture itself: comments, and EXIF, XMP and IPTC in application segments.

use super::{Carrier, Sink, exif, iptc, utf8_or_latin1, xmp};

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

/// Walks the segments.
pub(super) fn walk(bytes: &[u8], sink: &mut Sink) {
    let mut rest = &bytes[2..];
    loop {
        let [0xFF, marker, after @ ..] = rest else {
            return sink.fault(match rest.is_empty() {
                true => "the JPEG file ends before its picture".to_owned(),
                false => format!("the JPEG file is broken: no segment begins at byte {}", bytes.len() - rest.len()),
            });
        };
        match marker {
            0xFF => rest = &rest[1..],
            // The picture, or its end: texts stand before it.
            0xDA | 0xD9 => return,
            0x01 | 0xD0..=0xD7 => rest = after,
            _ => {
                let length = after.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
                if length < 2 || length > after.len() {
                    let left = after.len();
                    let fault = format!(
                        "the JPEG file is cut off: segment ff{marker:02x} has {length} bytes, {left} are there"
                    );
                    return sink.fault(fault);
                }
                segment(*marker, &after[2..length], sink);
                rest = &after[length..];
            }
        }
    }
}

/// Reads one segment that may hold texts.
fn segment(marker: u8, data: &[u8], sink: &mut Sink) {
    match marker {
        0xFE => sink.text(Carrier::Comment, "comment", utf8_or_latin1(data)),
        0xE1 if data.starts_with(exif::HEAD) => exif::read(&data[exif::HEAD.len()..], sink),
        0xE1 if data.starts_with(XMP) => xmp::read(&utf8_or_latin1(&data[XMP.len()..]), sink),
        0xE1 if data.starts_with(XMP_EXTENSION) => {
            sink.fault("XMP: a part in an extension segment is not read".to_owned());
        }
        0xED if data.starts_with(PHOTOSHOP) => iptc::read(&data[PHOTOSHOP.len()..], sink),
        _ => {}
    }
}
