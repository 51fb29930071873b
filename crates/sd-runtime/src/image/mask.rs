//! Masks: which pixels are drawn anew.
// Source of the rules: diffusers 0.42, VaeImageProcessor with do_binarize and do_convert_grayscale.

use super::{Filter, GreyImage, Region, RgbImage, Size};
use crate::error::Result;

/// Which pixels of a picture are repainted.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    size: Size,
    repaint: Vec<bool>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({})", self.size)
    }
}

impl GreyImage {
    /// The smallest part that has every pixel that is not black; none if all are.
    #[must_use]
    pub fn bounds(&self) -> Option<Region> {
        let Size { width, .. } = self.size();
        let mut bounds: Option<Region> = None;
        for (y, row) in self.pixels().chunks_exact(width.max(1)).enumerate() {
            let Some(first) = row.iter().position(|&v| v != 0) else { continue };
            let last = row.iter().rposition(|&v| v != 0).map_or(first, |last| last);
            let so_far = bounds.unwrap_or(Region { left: first, top: y, right: last + 1, bottom: y + 1 });
            let (left, right) = (so_far.left.min(first), so_far.right.max(last + 1));
            bounds = Some(Region { left, right, bottom: y + 1, ..so_far });
        }
        bounds
    }

    /// What of the picture to draw when only the masked part is drawn: the mask with a border of `padding` pixels,
    /// widened where the picture allows to the proportions of the size at which it is drawn.
    ///
    /// None if nothing is masked.
    ///
    /// ```
    /// use sd_runtime::image::{GreyImage, Region, Size};
    /// # fn main() -> sd_runtime::Result<()> {
    /// let mut pixels = vec![0; 100 * 60];
    /// pixels[30 * 100 + 50] = 255;
    /// let mask = GreyImage::new(Size { width: 100, height: 60 }, pixels)?;
    /// let region = mask.crop_region(Size { width: 64, height: 64 }, 4);
    /// assert_eq!(region, Some(Region { left: 46, top: 26, right: 55, bottom: 35 }));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn crop_region(&self, drawn: Size, padding: usize) -> Option<Region> {
        self.bounds().map(|bounds| bounds.around(padding, drawn.at_least_one(), self.size()))
    }

    /// The mask that repaints what is lighter than mid grey: values from 128 on.
    #[must_use]
    pub fn to_mask(&self) -> Mask {
        Mask { size: self.size(), repaint: self.pixels().iter().map(|&v| v >= 128).collect() }
    }
}

impl Mask {
    /// The mask that a picture is, at the size that is drawn: resized in colour with Lanczos, then grey, then sharp.
    #[must_use]
    pub fn from_picture(picture: &RgbImage, size: Size) -> Self {
        picture.resize(size, Filter::Lanczos).to_grey().to_mask()
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Whether nothing is repainted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.repaint.contains(&true)
    }

    /// A plane of 1 where pixels are repainted and 0 elsewhere.
    #[must_use]
    pub fn to_plane(&self) -> Vec<f32> {
        self.repaint.iter().map(|&r| f32::from(u8::from(r))).collect()
    }

    /// The same for latents, of `height / factor` rows and `width / factor` columns: each the pixel at its upper left.
    #[must_use]
    pub fn to_latent_plane(&self, factor: usize) -> Vec<f32> {
        let factor = factor.max(1);
        let (rows, columns) = (self.size.height / factor, self.size.width / factor);
        let pixel = |y: usize, x: usize| self.repaint[y * factor * self.size.width + x * factor];
        (0..rows).flat_map(|y| (0..columns).map(move |x| f32::from(u8::from(pixel(y, x))))).collect()
    }

    /// The picture in planes of −1 to 1, with 0 (mid grey) where it is repainted: what an inpainting UNet sees of it.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`](crate::RuntimeError::ImageSizes) unless the picture has the mask's size.
    pub fn masked_planes(&self, picture: &RgbImage) -> Result<Vec<f32>> {
        picture.check_same_size(self.size)?;
        let mut planes = picture.to_planes();
        for plane in planes.chunks_exact_mut(self.repaint.len().max(1)) {
            for (value, _) in plane.iter_mut().zip(&self.repaint).filter(|(_, repaint)| **repaint) {
                *value = 0.0;
            }
        }
        Ok(planes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[u8]) -> GreyImage {
        GreyImage::new(Size { width: values.len(), height: 1 }, values.to_vec()).unwrap()
    }

    #[test]
    fn mid_grey_is_repainted_and_anything_darker_kept() {
        let mask = row(&[0, 127, 128, 255]).to_mask();
        assert_eq!(mask.to_plane(), [0.0, 0.0, 1.0, 1.0]);
        assert!(!mask.is_empty() && row(&[127]).to_mask().is_empty());
        assert_eq!(row(&[0, 127, 128, 255]).inverted().to_mask().to_plane(), [1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn latents_take_the_upper_left_pixel_and_leave_out_what_is_no_whole_one() {
        let size = Size { width: 5, height: 4 };
        let values = [[255, 0, 0, 255, 0], [0; 5], [0, 255, 255, 0, 0], [255; 5]].concat();
        let mask = GreyImage::new(size, values).unwrap().to_mask();
        assert_eq!(mask.to_latent_plane(2), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(mask.to_latent_plane(0), mask.to_plane());
    }

    #[test]
    fn what_is_repainted_becomes_mid_grey() {
        let picture = RgbImage::new(2, 1, vec![0, 255, 51, 255, 0, 255]).unwrap();
        let mask = row(&[0, 255]).to_mask();
        assert_eq!(mask.masked_planes(&picture).unwrap(), [-1.0, 0.0, 1.0, 0.0, -0.6, 0.0]);
        let error = row(&[0]).to_mask().masked_planes(&picture).unwrap_err().to_string();
        assert!(error.contains("2x1 and 1x1"), "{error}");
    }
}
