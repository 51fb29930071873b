//! Where pictures carry texts: chunks of PNG and WebP, segments of JPEG, and EXIF, XMP and IPTC within them.
//!
//! Frames are walked, nothing is decoded. A part that is broken becomes a fault with its name, and the rest is read.

mod exif;
mod iptc;
mod jpeg;
mod png;
mod webp;
mod xmp;

use serde::Serialize;

use crate::error::MetadataError;

/// The most bytes that one text may have, unpacked: graphs with pictures in them have a few MiB.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// The most bytes that all texts of a picture may have.
const MAX_ALL_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// The most texts of a picture.
const MAX_TEXTS: usize = 4096;

/// The names under which tools keep settings, for those who ask what was looked for.
pub const KEYWORDS: &[&str] = &[
    "parameters",
    "prompt",
    "workflow",
    "smelt",
    "invokeai_metadata",
    "sd-metadata",
    "Dream",
    "Comment",
    "Description",
    "Software",
    "XML:com.adobe.xmp",
    "EXIF UserComment",
    "EXIF ImageDescription",
    "EXIF XPComment",
    "IPTC Caption",
    "JPEG comment",
];

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PictureFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
}

/// What a text stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Carrier {
    /// A text chunk of a PNG file.
    Png,
    /// A tag of EXIF.
    Exif,
    /// A property of XMP.
    Xmp,
    /// A data set of IPTC.
    Iptc,
    /// A comment segment of a JPEG file.
    Comment,
}

/// A text of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// What it stood in.
    pub carrier: Carrier,
    /// Its name there: a PNG keyword, a tag of EXIF, a property of XMP without its prefix.
    pub keyword: String,
    /// The text.
    pub text: String,
}

impl Text {
    /// A text of this name.
    #[must_use]
    pub fn new(carrier: Carrier, keyword: impl Into<String>, text: impl Into<String>) -> Self {
        Self { carrier, keyword: keyword.into(), text: text.into() }
    }
}

/// All texts of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Texts {
    /// The file's format.
    pub format: PictureFormat,
    /// In the order that they stand in the file.
    pub texts: Vec<Text>,
    /// What could not be read, and why.
    pub faults: Vec<String>,
}

/// Takes the texts out of a picture's bytes.
///
/// A part that is broken, too long or cut off is named in [`Texts::faults`], and whatever else is there is read.
///
/// # Errors
/// [`MetadataError`] if the bytes are none of the formats.
pub fn texts(bytes: &[u8]) -> Result<Texts, MetadataError> {
    let (format, walk): (_, fn(&[u8], &mut Sink)) = if bytes.starts_with(png::SIGNATURE) {
        (PictureFormat::Png, png::walk)
    } else if bytes.starts_with(&[0xFF, 0xD8]) {
        (PictureFormat::Jpeg, jpeg::walk)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        (PictureFormat::WebP, webp::walk)
    } else if bytes.is_empty() {
        return Err(MetadataError::Empty);
    } else {
        let begin = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        return Err(MetadataError::Format { begin });
    };
    let mut sink = Sink::default();
    walk(bytes, &mut sink);
    let Sink { texts, faults, .. } = sink;
    Ok(Texts { format, texts, faults })
}

/// Takes texts as they are found, and keeps to the caps.
#[derive(Debug, Default)]
struct Sink {
    texts: Vec<Text>,
    faults: Vec<String>,
    n_bytes: usize,
}

impl Sink {
    /// Takes a text.
    fn text(&mut self, carrier: Carrier, keyword: &str, text: String) {
        let text = text.trim_end_matches('\0').to_owned();
        if text.len() > MAX_TEXT_BYTES {
            self.fault(format!(
                "{keyword}: {} bytes of text, more than the {MAX_TEXT_BYTES} that are read",
                text.len()
            ));
        } else if self.n_bytes + text.len() > MAX_ALL_BYTES || self.texts.len() >= MAX_TEXTS {
            self.fault(format!("{keyword}: left out, because the texts before it have {} bytes already", self.n_bytes));
        } else if !text.is_empty() {
            self.n_bytes += text.len();
            self.texts.push(Text::new(carrier, keyword, text));
        }
    }

    /// Takes what could not be read; a file of nothing but faults does not fill the memory.
    fn fault(&mut self, fault: String) {
        if self.faults.len() < 64 {
            self.faults.push(fault);
        }
    }
}

/// Bytes that claim no encoding: UTF-8 where they are that, as most tools write, and Latin-1 otherwise.
fn utf8_or_latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Printable name of a chunk's four bytes.
fn name(kind: &[u8]) -> String {
    kind.escape_ascii().to_string()
}
