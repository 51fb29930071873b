//! JPEG: EXIF and XMP are application segments behind the file's own head.

use std::io::Write;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::{exif, others, parameters, xmp};
use crate::error::{Result, RuntimeError};
use crate::image::{PngText, RgbImage};

/// 1 to 100; the encoder keeps colours at full resolution.
const QUALITY: u8 = 95;
const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Bytes of a segment behind its length.
const MAX_SEGMENT: usize = u16::MAX as usize - 2;

/// Writes the picture, and returns the names of texts that no segment holds.
pub(super) fn write(image: &RgbImage, mut out: impl Write, texts: &[PngText]) -> Result<Vec<String>> {
    let mut file = Vec::new();
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut encoder = JpegEncoder::new_with_quality(&mut file, QUALITY);
    let (width, height) = (side(image.width()), side(image.height()));
    encoder.encode(image.pixels(), width, height, ExtendedColorType::Rgb8).map_err(RuntimeError::ImageWrite)?;
    let (segments, left) = segments(texts);
    let head = head(&file);
    let write = |out: &mut dyn Write| {
        out.write_all(&file[..head])?;
        out.write_all(&segments)?;
        out.write_all(&file[head..])
    };
    write(&mut out).map_err(|error| RuntimeError::ImageWrite(image::ImageError::IoError(error)))?;
    Ok(left)
}

/// Bytes of the marker that begins a file, and of JFIF's segment, which must stand first.
fn head(file: &[u8]) -> usize {
    match file {
        [0xFF, 0xD8, 0xFF, 0xE0, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => 2,
    }
}

/// The segments of texts, and the names of those that are too long for one.
fn segments(texts: &[PngText]) -> (Vec<u8>, Vec<String>) {
    let (mut segments, mut left) = (Vec::new(), Vec::new());
    let mut add = |head: &[u8], content: &[u8]| {
        let length = head.len() + content.len();
        let fits = length <= MAX_SEGMENT;
        if fits {
            segments.extend([0xFF, 0xE1]);
            segments.extend(u16::try_from(length + 2).unwrap_or(u16::MAX).to_be_bytes());
            segments.extend([head, content].concat());
        }
        fits
    };
    if let Some(text) = parameters(texts)
        && !add(EXIF, &exif::block(&text.text))
    {
        left.push(text.keyword.clone());
    }
    // A packet is one segment: what makes it too long goes from its end.
    let mut kept: Vec<&PngText> = others(texts).collect();
    while let Some(packet) = xmp::packet(kept.iter().copied()) {
        if add(XMP, packet.as_bytes()) {
            break;
        }
        left.extend(kept.pop().map(|text| text.keyword.clone()));
    }
    (segments, left)
}
