//! PNG files with text, by which a picture remembers how it was made.
//!
//! Text that is Latin-1 goes into a `tEXt` chunk, other text into `iTXt`, always before the pixels so that readers need not decode them.

use std::io::{BufRead, Seek, Write};

use super::{GreyImage, RgbImage, Size};
use crate::error::{Result, RuntimeError};

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
    /// [`RuntimeError::PngWrite`] if the writer fails or a keyword is not allowed.
    pub fn write_png(&self, out: impl Write, texts: &[PngText]) -> Result<()> {
        let mut writer = encoder(out, self.size(), png::ColorType::Rgb, texts)?.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(())
    }
}

/// A PNG whose rows are written as they are made.
pub struct PngRows<'a> {
    out: &'a mut dyn Write,
    /// How opaque pixels are, and how many rows of that are written.
    alpha: Option<(&'a GreyImage, usize)>,
    width: usize,
}

/// Writes a picture of that size as PNG, with the texts in the given order; its rows come from `content`, and its pixels are
/// as opaque as `alpha` says, which has its size.
///
/// # Errors
/// As [`RgbImage::write_png`]; [`RuntimeError::ImageSizes`] for an alpha of another size; where rows are missing; and those of
/// `content`.
pub fn write_png_rows<E: From<RuntimeError>>(
    out: impl Write,
    size: Size,
    alpha: Option<&GreyImage>,
    texts: &[PngText],
    content: impl FnOnce(&mut PngRows<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error: png::EncodingError| RuntimeError::from(error);
    if let Some(other) = alpha.map(GreyImage::size).filter(|other| *other != size) {
        let sides = |size: Size| (size.width, size.height);
        return Err(RuntimeError::ImageSizes { a: sides(size), b: sides(other) }.into());
    }
    let color = if alpha.is_some() { png::ColorType::Rgba } else { png::ColorType::Rgb };
    let mut writer = encoder(out, size, color, texts)?.write_header().map_err(failed)?;
    let mut rows = writer.stream_writer().map_err(failed)?;
    content(&mut PngRows { out: &mut rows, alpha: alpha.map(|alpha| (alpha, 0)), width: size.width })?;
    rows.finish().map_err(failed)?;
    Ok(writer.finish().map_err(failed)?)
}

impl PngRows<'_> {
    /// Writes the next rows: red, green and blue of each pixel.
    ///
    /// # Errors
    /// [`RuntimeError::PngWrite`] if the writer fails.
    pub fn rows(&mut self, pixels: &[u8]) -> Result<()> {
        let Some((alpha, n_rows)) = &mut self.alpha else {
            return Ok(self.out.write_all(pixels).map_err(png::EncodingError::from)?);
        };
        for row in pixels.chunks_exact((self.width * 3).max(1)) {
            let opacities = alpha.pixels().iter().skip(*n_rows * self.width);
            let rgba = row.chunks_exact(3).zip(opacities).flat_map(|(p, &opacity)| [p[0], p[1], p[2], opacity]);
            self.out.write_all(&rgba.collect::<Vec<u8>>()).map_err(png::EncodingError::from)?;
            *n_rows += 1;
        }
        Ok(())
    }
}

/// What writes a picture of such pixels, with the texts in the given order.
fn encoder<'a, W: Write>(out: W, size: Size, color: png::ColorType, texts: &[PngText]) -> Result<png::Encoder<'a, W>> {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(out, side(size.width), side(size.height));
    encoder.set_color(color);
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
    Ok(encoder)
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
    fn rows_make_the_file_that_the_whole_picture_makes_with_transparency_where_there_is_some() {
        let (picture, texts) = (picture(), [PngText::new("Software", "smelt")]);
        let write = |alpha: Option<&GreyImage>, n_rows: usize| -> Result<Vec<u8>> {
            let mut file = Vec::new();
            let rows = || picture.pixels().chunks(9).take(n_rows);
            let content = |out: &mut PngRows<'_>| rows().try_for_each(|row| out.rows(row));
            write_png_rows(&mut file, picture.size(), alpha, &texts, content).map(|()| file)
        };
        let read = |alpha: Option<&GreyImage>| {
            let file = write(alpha, 2).unwrap();
            (RgbImage::read_with_alpha(Cursor::new(&file)).unwrap(), read_png_text(Cursor::new(&file)).unwrap())
        };
        assert_eq!(read(None), ((picture.clone(), None), texts.to_vec()));
        let alpha = GreyImage::new(picture.size(), vec![0, 1, 2, 3, 4, 255]).unwrap();
        assert_eq!(read(Some(&alpha)).0, (picture.clone(), Some(alpha)));
        let other = GreyImage::new(Size { width: 1, height: 1 }, vec![0]).unwrap();
        assert!(write(Some(&other), 2).is_err());
        assert!(write(None, 1).is_err(), "a row is missing");
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
