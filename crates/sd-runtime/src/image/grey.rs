//! Grey pictures: masks before they are sharp, edges.

use super::filter::Filter;
use super::plane::{Plane, Side};
use super::{Region, RgbImage, Size};
use crate::error::{Result, RuntimeError};

/// An 8-bit grey picture, rows from the top, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct GreyImage {
    size: Size,
    pixels: Vec<u8>,
}

impl std::fmt::Debug for GreyImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GreyImage({})", self.size)
    }
}

impl GreyImage {
    /// A picture of the given pixels, one byte each.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] unless there are `width · height` bytes.
    pub fn new(size: Size, pixels: Vec<u8>) -> Result<Self> {
        if size.width.checked_mul(size.height) != Some(pixels.len()) {
            let got = pixels.len();
            return Err(RuntimeError::Options(format!(
                "a grey picture of {size} needs a byte for each pixel, not {got}"
            )));
        }
        Ok(Self { size, pixels })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The bytes, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Dark for light.
    #[must_use]
    pub fn inverted(&self) -> Self {
        Self { size: self.size, pixels: self.pixels.iter().map(|v| 255 - v).collect() }
    }

    /// The picture at another size, byte for byte as Pillow 13 resizes it; both sides at least 1.
    #[must_use]
    pub fn resize(&self, size: Size, filter: Filter) -> Self {
        let size = size.at_least_one();
        if size == self.size {
            return self.clone();
        }
        if self.pixels.is_empty() {
            return Self { size, pixels: vec![0; size.n_pixels()] };
        }
        let plane = Plane { size: self.size, n_channels: 1, values: &self.pixels };
        let (across, down) = (Side::whole(self.size.width, size.width), Side::whole(self.size.height, size.height));
        Self { size, pixels: plane.resize(&across, &down, filter) }
    }

    /// A part of the picture; what lies outside of it is left out.
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        let region = region.within(self.size);
        let rows = (region.top..region.bottom).map(|y| y * self.size.width);
        let pixels = rows.flat_map(|row| &self.pixels[row + region.left..row + region.right]).copied().collect();
        Self { size: region.size(), pixels }
    }

    /// The same value for red, green and blue.
    #[must_use]
    pub fn to_rgb(&self) -> RgbImage {
        let pixels = self.pixels.iter().flat_map(|&v| [v; 3]).collect();
        RgbImage { width: self.size.width, height: self.size.height, pixels }
    }
}

impl RgbImage {
    /// The picture in grey, as Pillow converts it: 0.299 red, 0.587 green, 0.114 blue in 16-bit fixed point.
    #[must_use]
    pub fn to_grey(&self) -> GreyImage {
        let grey =
            |p: &[u8]| (19_595 * u32::from(p[0]) + 38_470 * u32::from(p[1]) + 7_471 * u32::from(p[2]) + 0x8000) >> 16;
        GreyImage { size: self.size(), pixels: self.pixels.chunks_exact(3).map(|p| grey(p) as u8).collect() }
    }
}
