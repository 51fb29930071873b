//! Pictures that a user gives: PNG, JPEG or WebP, of whatever kind of pixel.

use std::io::{BufRead, Seek};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{GreyImage, RgbImage, Size};
use crate::error::Result;

/// Cap on each side, in pixels.
const MAX_SIDE: u32 = 1 << 14;
/// Cap on memory for decoding: pictures of 170 million pixels of 8 bits.
const MAX_BYTES: u64 = 1 << 29;

impl RgbImage {
    /// Reads a PNG, JPEG or WebP; the format is seen from the content.
    ///
    /// As diffusers' `load_image` reads it: a camera's orientation is applied, grey becomes RGB, and transparency is left
    /// out, so that the colours under it show.
    /// Other than there, grey of 16 bits is rounded to 8 and not cut off above 255, which would make it all white.
    ///
    /// # Errors
    /// [`RuntimeError::ImageRead`](crate::RuntimeError::ImageRead) for another format, a damaged file, or more than
    /// 16 384 pixels on a side.
    pub fn read(input: impl BufRead + Seek) -> Result<Self> {
        let picture = decode(input)?.into_rgb8();
        Self::new(picture.width() as usize, picture.height() as usize, picture.into_raw())
    }

    /// The size that the head of a picture's file says, without decoding it; a camera's orientation is not applied.
    ///
    /// # Errors
    /// As [`read`](Self::read), as far as the head goes; more pixels than are read are an error only where they could not
    /// even be counted.
    pub fn read_size(input: impl BufRead + Seek) -> Result<Size> {
        let mut reader = ImageReader::new(input).with_guessed_format().map_err(image::ImageError::IoError)?;
        // Nothing is allocated for pixels.
        reader.no_limits();
        let (width, height) = reader.into_dimensions()?;
        Ok(Size { width: width as usize, height: height as usize })
    }

    /// Reads a picture, and how opaque its pixels are (255: wholly) if the file says so of them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with_alpha(input: impl BufRead + Seek) -> Result<(Self, Option<GreyImage>)> {
        let picture = decode(input)?;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if !picture.color().has_alpha() {
            return Ok((Self::new(width, height, picture.into_rgb8().into_raw())?, None));
        }
        let rgba = picture.into_rgba8().into_raw();
        let colours = rgba.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
        let alpha = rgba.iter().skip(3).step_by(4).copied().collect();
        Ok((Self::new(width, height, colours)?, Some(GreyImage::new(Size { width, height }, alpha)?)))
    }
}

/// The picture as it is meant to be seen.
fn decode(input: impl BufRead + Seek) -> Result<DynamicImage> {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    let mut reader = ImageReader::new(input).with_guessed_format().map_err(image::ImageError::IoError)?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb};

    use super::*;
    use crate::error::RuntimeError;

    fn png(picture: impl Into<DynamicImage>) -> Cursor<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        picture.into().write_to(&mut file, ImageFormat::Png).unwrap();
        file.set_position(0);
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let image = RgbImage::new(3, 2, (0..18).map(|i| i * 14).collect()).unwrap();
        let mut file = Vec::new();
        image.write_png(&mut file, &[]).unwrap();
        assert_eq!(RgbImage::read(Cursor::new(file)).unwrap(), image);
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
        assert_eq!(RgbImage::read(Cursor::new(&file)).unwrap().pixels(), rgb, "{color:?} {depth:?}");
    }

    #[test]
    fn pictures_of_every_kind_become_rgb_and_lose_transparency() {
        use png::{BitDepth::*, ColorType::*};
        reads(Grayscale, Eight, &[7, 200], 2, &[7, 7, 7, 200, 200, 200]);
        reads(Grayscale, One, &[0b0100_0000], 2, &[0, 0, 0, 255, 255, 255]);
        reads(Grayscale, Sixteen, &[0, 255, 1, 129, 255, 255], 3, &[1, 1, 1, 1, 1, 1, 255, 255, 255]);
        reads(Rgb, Sixteen, &[1, 255, 2, 0, 3, 9], 1, &[2, 2, 3]);
        reads(Indexed, Eight, &[1, 0], 2, &[40, 50, 60, 1, 2, 3]);
        reads(GrayscaleAlpha, Eight, &[100, 255, 9, 0], 2, &[100, 100, 100, 9, 9, 9]);
        reads(Rgba, Eight, &[0, 255, 51, 128], 1, &[0, 255, 51]);
    }

    #[test]
    fn transparency_is_read_where_there_is_some() {
        let pixels = image::RgbaImage::from_raw(2, 1, vec![1, 2, 3, 255, 4, 5, 6, 0]).unwrap();
        let (colours, alpha) = RgbImage::read_with_alpha(png(pixels)).unwrap();
        assert_eq!((colours.pixels(), alpha.unwrap().pixels()), (&[1u8, 2, 3, 4, 5, 6][..], &[255u8, 0][..]));
        let opaque = png(image::RgbImage::from_raw(1, 1, vec![1, 2, 3]).unwrap());
        assert_eq!(RgbImage::read_with_alpha(opaque).unwrap().1, None);
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let whole = png(image::RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8, y as u8, 7]))).into_inner();
        for len in 0..whole.len() - 12 {
            let error = RgbImage::read(Cursor::new(&whole[..len])).unwrap_err();
            assert!(matches!(error, RuntimeError::ImageRead(_)), "{len} bytes: {error}");
        }
        let error = RgbImage::read(Cursor::new(b"GIF89a what follows does not matter")).unwrap_err().to_string();
        assert!(error.contains("PNG, JPEG and WebP"), "{error}");
    }

    #[test]
    fn sizes_are_capped_before_anything_is_allocated() {
        // A header that promises 2^31 by 2^31 pixels.
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        file.extend([0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 8, 2, 0, 0, 0]);
        file.extend(crc(&file[12..]).to_be_bytes());
        assert!(matches!(RgbImage::read(Cursor::new(&file)), Err(RuntimeError::ImageRead(_))));
        assert!(matches!(RgbImage::read_size(Cursor::new(file)), Err(RuntimeError::ImageRead(_))));
    }

    #[test]
    fn a_head_tells_the_size_of_what_is_too_large_to_be_read() {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        file.extend([0, 0x10, 0, 0, 0, 0x08, 0, 0, 8, 2, 0, 0, 0]);
        file.extend(crc(&file[12..]).to_be_bytes());
        // The head is read up to where pixels begin.
        file.extend(b"\0\0\0\0IDAT");
        file.extend(crc(b"IDAT").to_be_bytes());
        let size = RgbImage::read_size(Cursor::new(&file)).unwrap();
        assert_eq!(size, Size { width: 1 << 20, height: 1 << 19 });
        assert!(matches!(RgbImage::read(Cursor::new(file)), Err(RuntimeError::ImageRead(_))));
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        })
    }
}
