//! Pictures at another size, and parts of them.

use super::filter::Filter;
use super::plane::{Plane, Side};
use super::{Region, RgbImage, Size};

impl RgbImage {
    /// The picture at another size, byte for byte as Pillow 13 resizes it; both sides at least 1.
    #[must_use]
    pub fn resize(&self, size: Size, filter: Filter) -> Self {
        let size = size.at_least_one();
        if size == self.size() || self.pixels.is_empty() {
            return if size == self.size() { self.clone() } else { Self::black(size.width, size.height) };
        }
        self.resized(size, &Side::whole(self.width, size.width), &Side::whole(self.height, size.height), filter)
    }

    /// What the sides make of the picture, which is of that size.
    pub(super) fn resized(&self, size: Size, across: &Side, down: &Side, filter: Filter) -> Self {
        let plane = Plane { size: self.size(), n_channels: 3, values: &self.pixels };
        Self { width: size.width, height: size.height, pixels: plane.resize(across, down, filter) }
    }

    /// A part of the picture; what lies outside of it is left out.
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        let region = region.within(self.size());
        let rows = (region.top..region.bottom).map(|y| y * self.width * 3);
        let pixels =
            rows.flat_map(|row| &self.pixels[row + region.left * 3..row + region.right * 3]).copied().collect();
        Self { width: region.size().width, height: region.size().height, pixels }
    }

    /// Lays a picture on this one, with its first pixel at a place; what stands out is left out.
    pub(super) fn paste(&mut self, picture: &Self, left: usize, top: usize) {
        let width = picture.width.min(self.width.saturating_sub(left));
        let height = picture.height.min(self.height.saturating_sub(top));
        for y in 0..height {
            let (to, from) = (((top + y) * self.width + left) * 3, y * picture.width * 3);
            self.pixels[to..to + width * 3].copy_from_slice(&picture.pixels[from..from + width * 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture without symmetry: byte `i` of the pixels is `(7·i² + 13·i) mod 251`.
    fn pattern(width: usize, height: usize) -> RgbImage {
        let pixels = (0..width * height * 3).map(|i| ((7 * i * i + 13 * i) % 251) as u8).collect();
        RgbImage::new(width, height, pixels).unwrap()
    }

    fn checksum(image: &RgbImage) -> u64 {
        image.pixels().iter().fold(0, |sum, &b| (sum * 31 + u64::from(b)) % 1_000_000_007)
    }

    #[test]
    fn small_pictures_resize_as_pillow_does() {
        // Pillow 13.0.
        let resized = pattern(5, 3).resize(Size { width: 2, height: 2 }, Filter::Bicubic);
        assert_eq!(resized.pixels(), [86, 126, 143, 145, 121, 145, 89, 72, 141, 91, 141, 84]);
    }

    #[test]
    fn larger_pictures_resize_as_pillow_does() {
        use Filter::*;
        // Pillow 13.0.
        for (filter, (from_w, from_h), (to_w, to_h), want) in [
            (Bicubic, (512, 512), (224, 224), 887_540_401),
            (Bicubic, (64, 64), (224, 224), 496_966_159),
            (Bicubic, (97, 61), (356, 224), 504_746_801),
            (Bicubic, (300, 200), (336, 224), 4_263_787),
            (Bicubic, (128, 128), (32, 128), 646_397_494),
            (Bicubic, (50, 90), (50, 17), 553_380_738),
            (Lanczos, (90, 70), (88, 64), 545_019_500),
            (Lanczos, (90, 170), (88, 64), 59_418_812),
            (Lanczos, (61, 97), (128, 33), 747_013_492),
            (Lanczos, (40, 30), (96, 97), 195_705_404),
            (Bilinear, (97, 61), (31, 100), 708_560_097),
            (Bilinear, (60, 200), (90, 20), 858_025_681),
            (Box, (97, 61), (31, 17), 392_049_169),
            (Box, (30, 40), (33, 90), 269_002_450),
            (Hamming, (97, 61), (31, 17), 91_626_759),
            (Nearest, (97, 61), (31, 100), 354_526_761),
            (Nearest, (1000, 3), (37, 7), 202_579_439),
            (Lanczos, (300, 2), (7, 5), 552_906_204),
            (Lanczos, (1, 1), (5, 4), 416_852_556),
        ] {
            let got = checksum(&pattern(from_w, from_h).resize(Size { width: to_w, height: to_h }, filter));
            assert_eq!(got, want, "{filter:?} {from_w}x{from_h} to {to_w}x{to_h}");
        }
    }

    #[test]
    fn parts_end_where_the_picture_ends() {
        let picture = pattern(4, 3);
        let part = picture.crop(Region { left: 2, top: 1, right: 9, bottom: 2 });
        assert_eq!((part.width(), part.height()), (2, 1));
        assert_eq!(part.pixels(), &picture.pixels()[(4 + 2) * 3..8 * 3]);
        assert_eq!(picture.crop(Region { left: 3, top: 2, right: 1, bottom: 9 }).pixels(), [0u8; 0]);
        let mut black = RgbImage::black(4, 3);
        black.paste(&picture, 3, 2);
        assert_eq!(black.pixels()[33..], picture.pixels()[..3]);
    }

    #[test]
    fn empty_pictures_resize_to_black_ones() {
        let empty = RgbImage::new(0, 0, vec![]).unwrap();
        assert_eq!(empty.resize(Size { width: 2, height: 1 }, Filter::Lanczos).pixels(), [0; 6]);
    }
}
