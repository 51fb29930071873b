//! WebP: pixels without loss, and EXIF and XMP as chunks behind them.
// WebP container specification, "Extended File Format".

use std::io::Write;

use image::ExtendedColorType;
use image::codecs::webp::WebPEncoder;

use super::{exif, others, parameters, xmp};
use crate::error::{Result, RuntimeError};
use crate::image::{PngText, RgbImage};

const HAS_EXIF: u8 = 0b1000;
const HAS_XMP: u8 = 0b100;
/// Bytes before the chunks: `RIFF`, a length, `WEBP`.
const HEAD: usize = 12;

/// Writes the picture; every text has its place.
pub(super) fn write(image: &RgbImage, mut out: impl Write, texts: &[PngText]) -> Result<Vec<String>> {
    let mut file = Vec::new();
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (width, height) = (side(image.width()), side(image.height()));
    let encoder = WebPEncoder::new_lossless(&mut file);
    encoder.encode(image.pixels(), width, height, ExtendedColorType::Rgb8).map_err(RuntimeError::ImageWrite)?;
    let exif = parameters(texts).map(|text| exif::block(&text.text));
    let xmp = xmp::packet(others(texts)).map(String::into_bytes);
    if exif.is_some() || xmp.is_some() {
        file = extended(&file, [width, height], exif.as_deref(), xmp.as_deref());
    }
    out.write_all(&file).map_err(|error| RuntimeError::ImageWrite(image::ImageError::IoError(error)))?;
    Ok(Vec::new())
}

/// The file with what says that there is more than a picture, and with that.
fn extended(file: &[u8], size: [u32; 2], exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Vec<u8> {
    let flags = if exif.is_some() { HAS_EXIF } else { 0 } | if xmp.is_some() { HAS_XMP } else { 0 };
    let mut features = vec![flags, 0, 0, 0];
    // Sides less one, of 24 bits each.
    features.extend(size.iter().flat_map(|side| side.saturating_sub(1).to_le_bytes().into_iter().take(3)));
    let mut chunks = chunk(b"VP8X", &features);
    chunks.extend(&file[HEAD.min(file.len())..]);
    chunks.extend(exif.map(|exif| chunk(b"EXIF", exif)).into_iter().flatten());
    chunks.extend(xmp.map(|xmp| chunk(b"XMP ", xmp)).into_iter().flatten());
    let mut whole = b"RIFF".to_vec();
    whole.extend(length(chunks.len() + 4));
    whole.extend(b"WEBP");
    whole.extend(chunks);
    whole
}

/// A chunk, padded to an even length.
fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = kind.to_vec();
    chunk.extend(length(content.len()));
    chunk.extend(content);
    chunk.extend((content.len() % 2 == 1).then_some(0));
    chunk
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}
