//! Tags of EXIF that tools write settings into.

use exif::{Exif, Field, In, Reader, Tag, Value};

use super::{Carrier, Sink, utf8_or_latin1};

/// What stands before EXIF in a JPEG file.
pub(super) const HEAD: &[u8] = b"Exif\0\0";
/// Windows' comment: UTF-16 in bytes.
const XP_COMMENT: Tag = Tag(exif::Context::Tiff, 0x9C9C);

/// Reads a block of EXIF: a TIFF header and its directories.
pub(super) fn read(tiff: &[u8], sink: &mut Sink) {
    let mut reader = Reader::new();
    let exif = match reader.continue_on_error(true).read_raw(tiff.to_vec()) {
        Ok(exif) => exif,
        Err(exif::Error::PartialResult(partial)) => {
            let (exif, errors) = partial.into_inner();
            for error in errors {
                sink.fault(format!("EXIF: {error}"));
            }
            exif
        }
        Err(error) => return sink.fault(format!("EXIF: {error}")),
    };
    tags(&exif, sink);
}

/// Takes the tags that hold texts.
fn tags(exif: &Exif, sink: &mut Sink) {
    let tags = [
        (Tag::UserComment, "UserComment"),
        (Tag::ImageDescription, "ImageDescription"),
        (XP_COMMENT, "XPComment"),
        (Tag::Software, "Software"),
        (Tag::Make, "Make"),
        (Tag::Model, "Model"),
    ];
    for (tag, name) in tags {
        let Some(Field { value, .. }) = exif.get_field(tag, In::PRIMARY) else { continue };
        let text = match value {
            Value::Undefined(bytes, _) if tag == Tag::UserComment => user_comment(bytes),
            Value::Byte(bytes) if tag == XP_COMMENT => Ok(utf16(bytes, u16::from_le_bytes)),
            Value::Undefined(bytes, _) | Value::Byte(bytes) => Ok(utf8_or_latin1(bytes)),
            Value::Ascii(parts) => Ok(utf8_or_latin1(&parts.join(&b' '))),
            _ => Err("holds no text".to_owned()),
        };
        match text {
            Ok(text) => labelled(name, text, sink),
            Err(fault) => sink.fault(format!("EXIF {name}: {fault}")),
        }
    }
}

/// ComfyUI's WebP files have `prompt:` and `workflow:` in tags that are free; a camera's maker is of no account.
fn labelled(name: &str, text: String, sink: &mut Sink) {
    for label in ["prompt", "workflow"] {
        if let Some(rest) = strip_label(&text, label) {
            return sink.text(Carrier::Exif, label, rest.to_owned());
        }
    }
    if !matches!(name, "Make" | "Model") {
        sink.text(Carrier::Exif, name, text);
    }
}

/// What follows `label:` before an object.
fn strip_label<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let begin = text.get(..label.len()).filter(|begin| begin.eq_ignore_ascii_case(label))?;
    text[begin.len()..].strip_prefix(':').map(str::trim_start).filter(|rest| rest.starts_with('{'))
}

/// EXIF 2.32, 4.6.5: eight bytes say how the comment is encoded.
fn user_comment(bytes: &[u8]) -> Result<String, String> {
    let Some((code, text)) = bytes.split_at_checked(8) else {
        return Err(format!("{} bytes, fewer than say how it is encoded", bytes.len()));
    };
    match code {
        b"UNICODE\0" => Ok(utf16_of_any_order(text)),
        b"ASCII\0\0\0" | [0, 0, 0, 0, 0, 0, 0, 0] => Ok(utf8_or_latin1(text)),
        b"JIS\0\0\0\0\0" => Err("in JIS, which is not read".to_owned()),
        // Writers that leave the code out.
        _ => Ok(utf8_or_latin1(bytes)),
    }
}

/// The standard does not say in which order the bytes are: settings are mostly ASCII, in whatever order they are that.
fn utf16_of_any_order(bytes: &[u8]) -> String {
    match bytes {
        [0xFE, 0xFF, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        [0xFF, 0xFE, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        _ => {}
    }
    let n_zero = |first: usize| bytes.iter().skip(first).step_by(2).filter(|&&byte| byte == 0).count();
    match n_zero(1) > n_zero(0) {
        true => utf16(bytes, u16::from_le_bytes),
        false => utf16(bytes, u16::from_be_bytes),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
