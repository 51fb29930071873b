//! PNG files: pixels of every kind as 8-bit RGB, and text, by which a picture remembers how it was made.
//!
//! Text that is Latin-1 goes into a `tEXt` chunk, other text into `iTXt`, always before the pixels so that readers need not decode them.

use std::io::{BufRead, Seek, Write};

use super::RgbImage;
use crate::error::{Result, RuntimeError};

/// Cap on memory for reading a PNG's text; pixels are not decoded.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Cap on a picture's pixels: 8192 by 8192.
const MAX_PIXELS: usize = 1 << 26;
/// Cap on memory for reading a picture: 64-bit pixels, and something for the rest.
const MAX_PNG_BYTES: usize = MAX_PIXELS * 8 + MAX_TEXT_BYTES;

/// A keyword and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PngText {
    /// 1 to 79 Latin-1 characters.
    pub keyword: String,
    /// Any text.
    pub text: String,
}

impl PngText {
    /// A keyword and its text.
    pub fn new(keyword: impl Into<String>, text: impl Into<String>) -> Self {
        Self { keyword: keyword.into(), text: text.into() }
    }
}

impl RgbImage {
    /// Writes the picture as PNG, with the texts in the given order.
    ///
    /// # Errors
    /// [`RuntimeError::PngWrite`](crate::RuntimeError::PngWrite) if the writer fails or a keyword is not allowed.
    pub fn write_png(&self, out: impl Write, texts: &[PngText]) -> Result<()> {
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut encoder = png::Encoder::new(out, size(self.width), size(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        for PngText { keyword, text } in texts {
            // NUL would end a tEXt chunk's text early for some readers.
            let latin1 = text.chars().all(|c| ('\u{1}'..='\u{ff}').contains(&c));
            if latin1 {
                encoder.add_text_chunk(keyword.clone(), text.clone())?;
            } else {
                encoder.add_itxt_chunk(keyword.clone(), text.clone())?;
            }
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(())
    }

    /// Reads a PNG of any kind as 8-bit RGB.
    ///
    /// Palettes and greys become RGB, 16-bit samples keep their upper byte, and what is transparent lies on white.
    /// Of an animation the first frame is read.
    ///
    /// # Errors
    /// [`RuntimeError::PngRead`] if it is not a PNG or is damaged, [`RuntimeError::ImageTooLarge`] beyond 2²⁶ pixels.
    pub fn read_png(input: impl BufRead + Seek) -> Result<Self> {
        let limits = png::Limits { bytes: MAX_PNG_BYTES };
        let mut decoder = png::Decoder::new_with_limits(input, limits);
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info()?;
        let (width, height) = reader.info().size();
        if u64::from(width) * u64::from(height) > MAX_PIXELS as u64 {
            return Err(RuntimeError::ImageTooLarge { width, height, limit: MAX_PIXELS });
        }
        let n_bytes = reader.output_buffer_size();
        let mut bytes = vec![0; n_bytes.ok_or(RuntimeError::ImageTooLarge { width, height, limit: MAX_PIXELS })?];
        let frame = reader.next_frame(&mut bytes)?;
        let over_white = |value: u8, alpha: u8| {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        let pixels = match frame.color_type {
            png::ColorType::Rgb | png::ColorType::Indexed => bytes,
            png::ColorType::Grayscale => bytes.iter().flat_map(|&v| [v; 3]).collect(),
            png::ColorType::GrayscaleAlpha => {
                bytes.chunks_exact(2).flat_map(|pixel| [over_white(pixel[0], pixel[1]); 3]).collect()
            }
            png::ColorType::Rgba => {
                bytes.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]].map(|value| over_white(value, p[3]))).collect()
            }
        };
        Self::new(frame.width as usize, frame.height as usize, pixels)
    }
}

/// Reads the texts that stand before a PNG's pixels: plain ones first, then Unicode ones.
///
/// # Errors
/// [`RuntimeError::PngRead`](crate::RuntimeError::PngRead) if it is not a PNG, is damaged, or holds more text than 16 MiB.
pub fn read_png_text(input: impl BufRead + Seek) -> Result<Vec<PngText>> {
    let limits = png::Limits { bytes: MAX_TEXT_BYTES };
    let reader = png::Decoder::new_with_limits(input, limits).read_info()?;
    let info = reader.info();
    let mut texts: Vec<PngText> = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.push(PngText::new(&chunk.keyword, &chunk.text));
    }
    for chunk in &info.compressed_latin1_text {
        texts.push(PngText::new(&chunk.keyword, chunk.get_text()?));
    }
    for chunk in &info.utf8_text {
        texts.push(PngText::new(&chunk.keyword, chunk.get_text()?));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn picture() -> RgbImage {
        RgbImage::new(3, 2, (0..18).collect()).unwrap()
    }

    #[test]
    fn texts_survive_the_file() {
        let texts = [PngText::new("parameters", "a café\nSteps: 20"), PngText::new("smelt", r#"{"prompt":"日本"}"#)];
        let mut file = Vec::new();
        picture().write_png(&mut file, &texts).unwrap();
        assert_eq!(read_png_text(Cursor::new(&file)).unwrap(), texts);
        let mut reader = png::Decoder::new(Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture().pixels());
        assert_eq!(RgbImage::read_png(Cursor::new(&file)).unwrap(), picture());
    }

    /// A PNG of one row as another program writes it, and how it is read.
    #[track_caller]
    fn reads(color: png::ColorType, depth: png::BitDepth, data: &[u8], width: u32, rgb: &[u8]) {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        assert_eq!(RgbImage::read_png(Cursor::new(&file)).unwrap().pixels(), rgb, "{color:?} {depth:?}");
    }

    #[test]
    fn pictures_of_every_kind_become_rgb_and_what_is_transparent_lies_on_white() {
        use png::{BitDepth::*, ColorType::*};
        reads(Grayscale, Eight, &[7, 200], 2, &[7, 7, 7, 200, 200, 200]);
        reads(Grayscale, One, &[0b0100_0000], 2, &[0, 0, 0, 255, 255, 255]);
        reads(Rgb, Sixteen, &[1, 255, 2, 0, 3, 9], 1, &[1, 2, 3]);
        reads(Indexed, Eight, &[1, 0], 2, &[40, 50, 60, 1, 2, 3]);
        reads(GrayscaleAlpha, Eight, &[100, 255, 100, 0], 2, &[100, 100, 100, 255, 255, 255]);
        reads(Rgba, Eight, &[0, 255, 51, 128], 1, &[127, 255, 153]);
    }

    #[test]
    fn enormous_pictures_are_refused_before_they_are_decoded() {
        let mut file = Vec::new();
        let mut writer = png::Encoder::new(&mut file, 60_000, 60_000).write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[0]).unwrap();
        drop(writer);
        let error = RgbImage::read_png(Cursor::new(&file)).unwrap_err();
        assert!(error.to_string().starts_with("a picture of 60000x60000 is larger than"), "{error}");
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes() {
        let write = || {
            let mut file = Vec::new();
            picture().write_png(&mut file, &[PngText::new("smelt", "{}")]).unwrap();
            file
        };
        assert_eq!(write(), write());
    }

    #[test]
    fn damaged_files_and_bad_keywords_are_errors() {
        let mut file = Vec::new();
        picture().write_png(&mut file, &[PngText::new("smelt", "text")]).unwrap();
        for cut in [0, 7, 20, 45] {
            assert!(read_png_text(Cursor::new(&file[..cut])).is_err(), "{cut} bytes");
            assert!(RgbImage::read_png(Cursor::new(&file[..cut])).is_err(), "{cut} bytes");
        }
        let keyword = "k".repeat(80);
        assert!(picture().write_png(Vec::new(), &[PngText::new(keyword, "")]).is_err());
    }
}
