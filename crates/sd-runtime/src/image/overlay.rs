//! A drawn part laid back into the picture that it is a part of.
// Source of the rules: diffusers 0.42, VaeImageProcessor.apply_overlay, whose arithmetic is Pillow 13's with premultiplied bytes.

use super::{Filter, Fit, GreyImage, Region, RgbImage};
use crate::error::Result;

impl RgbImage {
    /// This picture with what was drawn in its place where the mask is light; where it is grey both shine through.
    ///
    /// With a region the drawn picture is resized to it first, and lies there.
    /// The mask has the picture's size.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`](crate::RuntimeError::ImageSizes) unless the mask, and without a region the drawn picture too, has this picture's size.
    pub fn overlay(&self, drawn: &Self, mask: &GreyImage, region: Option<Region>) -> Result<Self> {
        let size = self.size();
        self.check_same_size(mask.size())?;
        let below = match region {
            None => drawn.clone(),
            Some(region) => {
                let region = region.within(size);
                let mut below = Self::black(size.width, size.height);
                if region.size().n_pixels() > 0 {
                    let drawn = drawn.fit(region.size(), Fit::Crop, Filter::Lanczos);
                    below.paste(&drawn, region.left, region.top);
                }
                below
            }
        };
        self.check_same_size(below.size())?;
        let channels = |pixels: &[u8]| pixels.iter().map(|&v| u32::from(v)).collect::<Vec<_>>();
        let (above, below) = (channels(&self.pixels), channels(&below.pixels));
        let alphas = mask.pixels().iter().flat_map(|&v| [255 - u32::from(v); 3]);
        let pixels = alphas.zip(above.iter().zip(&below)).map(|(alpha, (&a, &b))| over(a, alpha, b)).collect();
        Ok(Self { pixels, ..*self })
    }
}

/// A value with an alpha over an opaque one, rounded as often as Pillow rounds.
fn over(above: u32, alpha: u32, below: u32) -> u8 {
    const PRECISION_BITS: u32 = 7;
    let div_255 = |x: u32| ((x >> 8) + x) >> 8;
    if alpha == 0 {
        return below as u8;
    }
    let premultiplied = div_255(above * alpha + 128);
    let above = if alpha == 255 { premultiplied } else { (255 * premultiplied / alpha).min(255) };
    let sum = (above * alpha + below * (255 - alpha)) << PRECISION_BITS;
    (div_255(sum + (128 << PRECISION_BITS)) >> PRECISION_BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;

    fn grey(width: usize, height: usize, factor: usize) -> GreyImage {
        let pixels = (0..width * height).map(|i| (factor * i * i % 256) as u8).collect();
        GreyImage::new(Size { width, height }, pixels).unwrap()
    }

    #[test]
    fn soft_masks_mix_as_in_diffusers() {
        let (picture, drawn) = (grey(16, 16, 7).to_rgb(), grey(16, 16, 13).to_rgb());
        let mixed = picture.overlay(&drawn, &grey(16, 16, 1), None).unwrap();
        let sum = mixed.pixels().iter().step_by(3).fold(0u64, |sum, &v| (sum * 31 + u64::from(v)) % 1_000_000_007);
        // diffusers 0.42 and Pillow 13.0.
        assert_eq!(sum, 415_194_936);
    }

    #[test]
    fn a_region_is_resized_to_its_place() {
        let (picture, drawn) = (grey(16, 16, 7).to_rgb(), grey(8, 8, 13).to_rgb());
        let region = Region { left: 3, top: 2, right: 15, bottom: 12 };
        let mut pixels = vec![0; 256];
        (4..9).for_each(|y| pixels[y * 16 + 5..y * 16 + 13].fill(255));
        let mask = GreyImage::new(Size { width: 16, height: 16 }, pixels).unwrap();
        let mixed = picture.overlay(&drawn, &mask, Some(region)).unwrap();
        let sum = mixed.pixels().iter().step_by(3).fold(0u64, |sum, &v| (sum * 31 + u64::from(v)) % 1_000_000_007);
        assert_eq!(sum, 550_380_813);
        assert_eq!(mixed.pixels()[..48], picture.pixels()[..48]);
    }

    #[test]
    fn sizes_must_agree() {
        let picture = grey(4, 4, 3).to_rgb();
        assert!(picture.overlay(&picture, &grey(4, 5, 1), None).is_err());
        assert!(picture.overlay(&grey(5, 4, 3).to_rgb(), &grey(4, 4, 1), None).is_err());
        let outside = Region { left: 9, top: 9, right: 12, bottom: 12 };
        assert!(picture.overlay(&picture, &grey(4, 4, 1), Some(outside)).is_ok());
    }
}
