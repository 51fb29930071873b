//! How far two pictures are apart, pixel by pixel.
//!
//! Nothing here models what people see; it tells whether two ways to draw a picture drew the same one.

use super::RgbImage;
use crate::error::{Result, RuntimeError};

/// What differs between two pictures of one size, over their 8-bit values of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Peak signal-to-noise ratio in dB, `10 · log10(255² / mean square)`; infinite for identical pictures.
    pub psnr_db: f64,
    /// The largest absolute difference of a value.
    pub max: u8,
    /// The mean absolute difference of all values.
    pub mean: f64,
    /// The share of pixels, 0 to 1, that differ in any value.
    pub share_of_pixels: f64,
}

impl Difference {
    /// Compares two pictures; which is which does not matter.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`] unless both have the same size.
    pub fn between(a: &RgbImage, b: &RgbImage) -> Result<Self> {
        let sizes = [a, b].map(|image| (image.width, image.height));
        if sizes[0] != sizes[1] {
            return Err(RuntimeError::ImageSizes { a: sizes[0], b: sizes[1] });
        }
        let (mut max, mut sum, mut squares, mut n_pixels) = (0u8, 0u64, 0u64, 0u64);
        for (p, q) in a.pixels.chunks_exact(3).zip(b.pixels.chunks_exact(3)) {
            n_pixels += u64::from(p != q);
            for (&x, &y) in p.iter().zip(q) {
                let apart = x.abs_diff(y);
                max = max.max(apart);
                sum += u64::from(apart);
                squares += u64::from(apart).pow(2);
            }
        }
        // An empty picture differs from none.
        let n = a.pixels.len().max(1) as f64;
        Ok(Self {
            psnr_db: if squares == 0 { f64::INFINITY } else { 10.0 * (255.0 * 255.0 * n / squares as f64).log10() },
            max,
            mean: sum as f64 / n,
            share_of_pixels: n_pixels as f64 / (n / 3.0).max(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pixels: &[u8]) -> RgbImage {
        RgbImage::new(pixels.len() / 3, 1, pixels.to_vec()).unwrap()
    }

    #[test]
    fn differences_are_of_values_and_shares_of_pixels() {
        let a = row(&[0, 0, 0, 10, 20, 30, 5, 5, 5, 9, 9, 9]);
        let b = row(&[0, 0, 0, 13, 20, 24, 5, 5, 5, 9, 9, 9]);
        let d = Difference::between(&a, &b).unwrap();
        assert_eq!((d.max, d.mean, d.share_of_pixels), (6, 0.75, 0.25));
        // The mean square is 45 / 12.
        assert!((d.psnr_db - 42.3904).abs() < 1e-3, "{}", d.psnr_db);
        assert_eq!(Difference::between(&b, &a).unwrap(), d);
    }

    #[test]
    fn black_and_white_are_zero_decibels_apart_and_the_same_picture_infinitely_many() {
        let (black, white) = (row(&[0; 6]), row(&[255; 6]));
        assert_eq!(Difference::between(&black, &white).unwrap().psnr_db, 0.0);
        let same = Difference::between(&black, &black).unwrap();
        assert_eq!((same.psnr_db, same.max, same.share_of_pixels), (f64::INFINITY, 0, 0.0));
    }

    #[test]
    fn sizes_must_agree_in_both_directions() {
        let wide = row(&[0; 12]);
        let square = RgbImage::new(2, 2, vec![0; 12]).unwrap();
        let error = Difference::between(&wide, &square).unwrap_err().to_string();
        assert_eq!(error, "pictures of 4x1 and 2x2 cannot be compared pixel by pixel");
    }
}
