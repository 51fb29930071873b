//! PNG files with text, by which a picture remembers how it was made.
//!
//! Text that is Latin-1 goes into a `tEXt` chunk, other text into `iTXt`, always before the pixels so that readers need not decode them.

use std::io::{BufRead, Seek, Write};

use super::RgbImage;
use crate::error::Result;

/// Cap on memory for reading a PNG's text; pixels are not decoded.
const MAX_TEXT_BYTES: usize = 16 << 20;

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
        assert_eq!(RgbImage::read(Cursor::new(&file)).unwrap(), picture());
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
            assert!(RgbImage::read(Cursor::new(&file[..cut])).is_err(), "{cut} bytes");
        }
        let keyword = "k".repeat(80);
        assert!(picture().write_png(Vec::new(), &[PngText::new(keyword, "")]).is_err());
    }
}
