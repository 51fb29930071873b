//! Pictures as files: PNG, JPEG or WebP, each with its texts.
//!
//! | text | PNG | JPEG and WebP |
//! |---|---|---|
//! | `parameters` | text chunk | EXIF `UserComment`, UTF-16 behind `UNICODE`, as AUTOMATIC1111's web UI writes and reads it |
//! | `Software` | text chunk | XMP `xmp:CreatorTool` |
//! | any other | text chunk | XMP, a property of that name in a namespace of our own |
//!
//! Readers of the web UI's texts look at EXIF alone, so what stands in XMP does not disturb them.

mod exif;
mod jpeg;
mod webp;
mod xmp;

use std::io::Write;
use std::path::Path;

use super::{PngText, RgbImage};
use crate::error::Result;

/// A format that pictures are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureFormat {
    /// PNG: every pixel as it is.
    #[default]
    Png,
    /// JPEG of quality 95, with colours at full resolution.
    Jpeg,
    /// WebP without loss.
    WebP,
}

impl PictureFormat {
    /// Endings of files, and their formats.
    const ENDINGS: [(&str, Self); 4] =
        [("png", Self::Png), ("jpg", Self::Jpeg), ("jpeg", Self::Jpeg), ("webp", Self::WebP)];
    /// Endings of other formats of pictures.
    const OTHERS: [&str; 8] = ["gif", "bmp", "tif", "tiff", "avif", "heic", "jxl", "jp2"];

    /// What a file's name says: PNG where it names no format of pictures, none where it names one that is not written.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let found = Self::ENDINGS.iter().find(|(own, _)| *own == ending).map(|(_, format)| *format);
        found.or_else(|| (!Self::OTHERS.contains(&ending.as_str())).then_some(Self::Png))
    }
}

impl RgbImage {
    /// Writes the picture with its texts; those that were too long for the format, by their names, are left out.
    ///
    /// # Errors
    /// [`RuntimeError::PngWrite`](crate::RuntimeError::PngWrite) or
    /// [`RuntimeError::ImageWrite`](crate::RuntimeError::ImageWrite) if the writer fails, or the picture is larger than the
    /// format allows: 65535 pixels on a side for JPEG, 16383 for WebP.
    pub fn write(&self, out: impl Write, format: PictureFormat, texts: &[PngText]) -> Result<Vec<String>> {
        match format {
            PictureFormat::Png => self.write_png(out, texts).map(|()| Vec::new()),
            PictureFormat::Jpeg => jpeg::write(self, out, texts),
            PictureFormat::WebP => webp::write(self, out, texts),
        }
    }
}

/// The text that stands in EXIF, if there is one.
fn parameters(texts: &[PngText]) -> Option<&PngText> {
    texts.iter().find(|text| text.keyword == "parameters")
}

/// Those that stand in XMP.
fn others(texts: &[PngText]) -> impl Iterator<Item = &PngText> {
    texts.iter().filter(|text| text.keyword != "parameters")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn picture() -> RgbImage {
        RgbImage::new(17, 9, (0..17 * 9 * 3).map(|i| (i % 251) as u8).collect()).unwrap()
    }

    fn written(format: PictureFormat, texts: &[PngText]) -> (Vec<u8>, Vec<String>) {
        let mut file = Vec::new();
        let left = picture().write(&mut file, format, texts).unwrap();
        (file, left)
    }

    #[test]
    fn names_say_the_format() {
        for (name, format) in [
            ("a.png", Some(PictureFormat::Png)),
            ("a", Some(PictureFormat::Png)),
            ("v1.5", Some(PictureFormat::Png)),
            ("a.JPG", Some(PictureFormat::Jpeg)),
            ("a.jpeg", Some(PictureFormat::Jpeg)),
            ("a.b.webp", Some(PictureFormat::WebP)),
            ("a.avif", None),
            ("a.TIFF", None),
        ] {
            assert_eq!(PictureFormat::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn pictures_without_loss_are_read_as_they_were_and_others_nearly() {
        for texts in [&[][..], &[PngText::new("parameters", "a"), PngText::new("smelt", "{}")]] {
            for (format, most) in [(PictureFormat::Png, 0), (PictureFormat::WebP, 0), (PictureFormat::Jpeg, 24)] {
                let read = RgbImage::read(Cursor::new(written(format, texts).0)).unwrap();
                assert_eq!(read.size(), picture().size());
                let off = read.pixels().iter().zip(picture().pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(off <= most, "{format:?}: {off}");
            }
        }
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes() {
        let texts = [PngText::new("parameters", "日本"), PngText::new("Software", "smelt")];
        for format in [PictureFormat::Jpeg, PictureFormat::WebP] {
            assert_eq!(written(format, &texts), written(format, &texts));
        }
    }

    #[test]
    fn a_text_that_is_too_long_for_a_segment_is_left_out_by_name() {
        let long = "x".repeat(40_000);
        let texts = [PngText::new("parameters", &long), PngText::new("smelt", &long), PngText::new("other", &long)];
        assert_eq!(written(PictureFormat::Jpeg, &texts).1, ["parameters", "other"]);
        assert_eq!(written(PictureFormat::WebP, &texts).1, [""; 0]);
    }
}
