//! A picture at a size that has other proportions.
// Source of the rules: diffusers 0.42, VaeImageProcessor.resize.

use super::filter::Filter;
use super::plane::Side;
use super::{RgbImage, Size};

/// What becomes of a picture's proportions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fit {
    /// They are those of the size: the picture is stretched. diffusers calls it `default`.
    #[default]
    Stretch,
    /// The whole picture lies in the middle, and its edges are continued to both sides.
    Fill,
    /// The picture covers the size, and what stands out is cut off evenly.
    Crop,
}

impl Fit {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Stretch, Self::Crop, Self::Fill];

    /// Its name, as tools for pictures know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stretch => "resize",
            Self::Fill => "fill",
            Self::Crop => "crop",
        }
    }

    /// What it does, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Stretch => "Stretch it",
            Self::Fill => "Show all of it in the middle, and continue its edges",
            Self::Crop => "Cover the size with it, and cut off what stands out",
        }
    }
}

impl std::str::FromStr for Fit {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fit| fit.name() == s);
        found.ok_or_else(|| format!("{s:?} is not one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl RgbImage {
    /// The picture at a size, byte for byte as diffusers' `VaeImageProcessor` resizes it; both sides at least 1.
    ///
    /// The filter counts for [`Fit::Stretch`]: the other two resize with Lanczos.
    #[must_use]
    pub fn fit(&self, size: Size, fit: Fit, filter: Filter) -> Self {
        let size = size.at_least_one();
        match fit {
            Fit::Stretch => self.resize(size, filter),
            Fit::Fill => self.filled(size),
            Fit::Crop => self.cropped(size),
        }
    }

    /// The picture's size so that it has one of the sides, rounded down as integers divide.
    fn width_at(&self, height: usize) -> usize {
        (self.width.saturating_mul(height) / self.height.max(1)).max(1)
    }

    fn height_at(&self, width: usize) -> usize {
        (self.height.saturating_mul(width) / self.width.max(1)).max(1)
    }

    fn cropped(&self, size: Size) -> Self {
        let (wanted, own) = (size.ratio(), self.size().ratio());
        let width = if wanted > own { size.width } else { self.width_at(size.height) };
        let height = if wanted <= own { size.height } else { self.height_at(size.width) };
        // Only what is seen is computed, as a long and narrow picture becomes a huge one.
        let (left, top) = (offset(size.width, width), offset(size.height, height));
        let across = Side::whole(self.width, width).wanting(seen(left, size.width, width));
        let down = Side::whole(self.height, height).wanting(seen(top, size.height, height));
        let inner = Size { width: width.min(size.width), height: height.min(size.height) };
        let mut out = Self::black(size.width, size.height);
        out.paste(&self.resized(inner, &across, &down, Filter::Lanczos), left.max(0) as usize, top.max(0) as usize);
        out
    }

    fn filled(&self, size: Size) -> Self {
        let (wanted, own) = (size.ratio(), self.size().ratio());
        let width = if wanted < own { size.width } else { self.width_at(size.height) };
        let height = if wanted >= own { size.height } else { self.height_at(size.width) };
        let inner = self.resize(Size { width, height }, Filter::Lanczos);
        let mut out = Self::black(size.width, size.height);
        let (left, top) = (offset(size.width, width).max(0) as usize, offset(size.height, height).max(0) as usize);
        out.paste(&inner, left, top);
        if wanted < own && top > 0 {
            let border = |at| inner.border(Size { width, height: top }, Edge::Row(at));
            out.paste(&border(0), 0, 0);
            out.paste(&border(height), 0, top + height);
        } else if wanted > own && left > 0 {
            let border = |at| inner.border(Size { width: left, height }, Edge::Column(at));
            out.paste(&border(0), 0, 0);
            out.paste(&border(width), left + width, 0);
        }
        out
    }

    /// What continues the picture beyond an edge: diffusers resizes a part of no width there with a cubic, which
    /// overshoots the edge by an eighth of the step to the row or column before it.
    fn border(&self, size: Size, edge: Edge) -> Self {
        let (across, down) = match edge {
            Edge::Row(at) => (Side::whole(self.width, size.width), Side::point(self.height, at, size.height)),
            Edge::Column(at) => (Side::point(self.width, at, size.width), Side::whole(self.height, size.height)),
        };
        self.resized(size, &across, &down, Filter::Bicubic)
    }
}

/// An edge of a picture by its place.
#[derive(Clone, Copy)]
enum Edge {
    Row(usize),
    Column(usize),
}

/// Where a picture begins that lies in the middle of a side; below 0 if it stands out.
fn offset(side: usize, picture: usize) -> isize {
    (side / 2) as isize - (picture / 2) as isize
}

/// The pixels of a picture that are seen in a side.
fn seen(offset: isize, side: usize, picture: usize) -> std::ops::Range<usize> {
    let start = (-offset).max(0) as usize;
    start..(start + side).min(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_proportions_neither_fail_nor_take_memory() {
        let line = RgbImage::new(16_384, 1, vec![200; 16_384 * 3]).unwrap();
        let column = RgbImage::new(1, 16_384, vec![200; 16_384 * 3]).unwrap();
        for picture in [&line, &column] {
            for fit in [Fit::Stretch, Fit::Fill, Fit::Crop] {
                let fitted = picture.fit(Size { width: 512, height: 512 }, fit, Filter::Lanczos);
                assert_eq!(fitted.pixels().len(), 512 * 512 * 3, "{fit:?}");
                assert_eq!(fitted.pixels()[(256 * 512 + 256) * 3], 200, "{fit:?}");
            }
        }
        let dot = line.fit(Size { width: 0, height: 0 }, Fit::Crop, Filter::Lanczos);
        assert_eq!((dot.width(), dot.height()), (1, 1));
    }
}
