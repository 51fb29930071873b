//! Pictures: 8-bit RGB, from and to the numbers that models use.
//!
//! Colour management is not here.

mod blur;
mod border;
mod canny;
mod decode;
mod difference;
mod filter;
mod fit;
mod grey;
mod mask;
mod overlay;
mod picture_file;
mod plane;
mod png_file;
mod region;
mod resize;
mod similarity;
mod size;

pub use border::Border;
pub use canny::Canny;
pub use difference::Difference;
pub use filter::Filter;
pub use fit::Fit;
pub use grey::GreyImage;
pub use mask::Mask;
pub use picture_file::PictureFormat;
pub use png_file::{PngRows, PngText, read_png_text, write_png_rows};
pub use region::Region;
pub use similarity::Similarity;
pub use size::Size;

use crate::error::{Result, RuntimeError};

/// An 8-bit RGB picture, rows from the top, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RgbImage({}x{})", self.width, self.height)
    }
}

impl RgbImage {
    /// A picture of the given pixels, three bytes each.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSize`] unless there are `width · height · 3` bytes.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3)).unwrap_or(usize::MAX);
        if pixels.len() != expected {
            return Err(RuntimeError::ImageSize { width, height, expected, got: pixels.len() });
        }
        Ok(Self { width, height, pixels })
    }

    /// A picture from three planes of values in [−1, 1], as a VAE decoder gives them.
    ///
    /// Rounded as diffusers rounds: the nearest of 0…255 to `255 · clip(x/2 + 0.5)`, ties to even.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSize`] unless there are `3 · height · width` values.
    pub fn from_planes(width: usize, height: usize, planes: &[f32]) -> Result<Self> {
        let n = width.saturating_mul(height);
        if planes.len() != n.saturating_mul(3) {
            return Err(RuntimeError::ImageSize { width, height, expected: n.saturating_mul(3), got: planes.len() });
        }
        let byte = |x: f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let pixels = (0..n).flat_map(|i| [planes[i], planes[n + i], planes[2 * n + i]]).map(byte).collect();
        Ok(Self { width, height, pixels })
    }

    /// Three planes of values in [−1, 1], as a VAE encoder takes them: `2 · (byte/255) − 1`.
    #[must_use]
    pub fn to_planes(&self) -> Vec<f32> {
        let value = |byte: &u8| 2.0 * (f32::from(*byte) / 255.0) - 1.0;
        (0..3).flat_map(|channel| self.pixels.iter().skip(channel).step_by(3).map(value)).collect()
    }

    /// Three planes of values in [0, 1], as a ControlNet takes them: `byte/255`, and −1 where a pixel is wholly
    /// transparent, which ControlNets for inpainting understand as a hole.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`] unless the alpha has the picture's size.
    pub fn to_control_planes(&self, alpha: Option<&GreyImage>) -> Result<Vec<f32>> {
        let value = |byte: &u8| f32::from(*byte) / 255.0;
        let mut planes: Vec<f32> =
            (0..3).flat_map(|channel| self.pixels.iter().skip(channel).step_by(3).map(value)).collect();
        let Some(alpha) = alpha else { return Ok(planes) };
        self.check_same_size(alpha.size())?;
        for plane in planes.chunks_exact_mut(alpha.pixels().len().max(1)) {
            for (value, _) in plane.iter_mut().zip(alpha.pixels()).filter(|(_, alpha)| **alpha == 0) {
                *value = -1.0;
            }
        }
        Ok(planes)
    }

    fn check_same_size(&self, other: Size) -> Result<()> {
        let sides = |size: Size| (size.width, size.height);
        if self.size() == other {
            return Ok(());
        }
        Err(RuntimeError::ImageSizes { a: sides(self.size()), b: sides(other) })
    }

    /// A black picture.
    pub(crate) fn black(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * 3] }
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { width: self.width, height: self.height }
    }

    /// Pixels per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes: red, green and blue of each pixel, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The part of the given size around the centre; what lies outside the picture is black.
    pub(crate) fn center_crop(&self, width: usize, height: usize) -> Self {
        let offset = |size: usize, crop: usize| (size as isize - crop as isize).div_euclid(2);
        let (left, top) = (offset(self.width, width), offset(self.height, height));
        let mut cropped = Self::black(width, height);
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = (x as isize + left, y as isize + top);
                let inside = (0..self.width as isize).contains(&from_x) && (0..self.height as isize).contains(&from_y);
                if inside {
                    let from = (from_y as usize * self.width + from_x as usize) * 3;
                    let to = (y * width + x) * 3;
                    cropped.pixels[to..to + 3].copy_from_slice(&self.pixels[from..from + 3]);
                }
            }
        }
        cropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_round_as_diffusers_rounds() {
        // The first value comes to 100.5 exactly, which NumPy rounds to the even 100.
        let planes = [-0.211_764_66, -7.0, 0.0, 7.0, f32::NAN, 0.2];
        let image = RgbImage::from_planes(2, 1, &planes).unwrap();
        assert_eq!(image.pixels(), [100, 128, 0, 0, 255, 153]);
    }

    #[test]
    fn planes_go_there_and_back() {
        let image = RgbImage::new(16, 16, (0..=255).flat_map(|b| [b, 255 - b, b / 2]).collect()).unwrap();
        let planes = image.to_planes();
        assert_eq!((planes[0], planes[255], planes[256]), (-1.0, 1.0, 1.0));
        assert_eq!(RgbImage::from_planes(16, 16, &planes).unwrap(), image);
    }

    #[test]
    fn transparent_pixels_are_holes_for_a_controlnet() {
        let image = RgbImage::new(2, 1, vec![0, 51, 255, 102, 0, 153]).unwrap();
        assert_eq!(image.to_control_planes(None).unwrap(), [0.0, 0.4, 0.2, 0.0, 1.0, 0.6]);
        let alpha = GreyImage::new(image.size(), vec![1, 0]).unwrap();
        assert_eq!(image.to_control_planes(Some(&alpha)).unwrap(), [0.0, -1.0, 0.2, -1.0, 1.0, -1.0]);
        let wrong = GreyImage::new(Size { width: 1, height: 1 }, vec![0]).unwrap();
        assert!(image.to_control_planes(Some(&wrong)).is_err());
    }

    #[test]
    fn sizes_must_fit() {
        assert!(RgbImage::new(2, 2, vec![0; 11]).is_err());
        assert!(RgbImage::new(usize::MAX, 2, vec![]).is_err());
        assert!(RgbImage::from_planes(usize::MAX, 2, &[]).is_err());
    }

    #[test]
    fn crops_are_centred_and_padded_with_black() {
        let image = RgbImage::new(4, 1, vec![1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]).unwrap();
        assert_eq!(image.center_crop(2, 1).pixels(), [2, 2, 2, 3, 3, 3]);
        let grown = image.center_crop(4, 3);
        assert_eq!(grown.pixels()[..12], [0; 12]);
        assert_eq!(grown.pixels()[12..24], *image.pixels());
    }
}
