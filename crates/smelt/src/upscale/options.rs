//! What an upscaler is opened with, and how large pictures are to become.

use sd_convert::Precision;
use sd_runtime::image::Size;
use sd_runtime::upscale::{largest_overlap, usual_overlap};

use crate::engine::EngineSpec;
use crate::error::{Result, refuse};

/// Longest side of the parts in which pictures are upscaled, where nobody asks for another.
pub(super) const USUAL_TILE: usize = 256;
/// Shortest side of parts that may be asked for.
const MIN_TILE: usize = 16;

/// What an upscaler is opened with.
#[derive(Debug, Clone, Default)]
pub struct UpscalerOptions {
    /// What executes it.
    pub engine: EngineSpec,
    /// Longest side of the parts in which pictures are upscaled, in pixels; default: 256, and what a package was converted
    /// for. Larger ones compute less twice, and take more memory.
    pub tile: Option<usize>,
    /// Pixels of context that are computed around each part and left out; default: 32, or a quarter of smaller parts.
    pub overlap: Option<usize>,
    /// Precision of a network that is converted in memory; default: float32.
    pub precision: Option<Precision>,
    /// What a reference to the Hub needs must be in the cache.
    pub offline: bool,
}

impl UpscalerOptions {
    /// The longest side of parts.
    pub(super) fn longest(&self) -> usize {
        self.tile.unwrap_or(USUAL_TILE)
    }

    /// Context around parts of a side.
    pub(super) fn overlap_of(&self, tile: usize) -> usize {
        self.overlap.unwrap_or_else(|| usual_overlap(tile))
    }

    /// Refuses parts that a network cannot take, or of which nothing is left.
    pub(super) fn check(&self, tile: usize, multiple: usize, most: usize) -> Result<()> {
        if let Some(asked) = self.tile.filter(|asked| asked % multiple != 0 || !(MIN_TILE..=most).contains(asked)) {
            let multiples = if multiple > 1 { format!(", a multiple of {multiple}") } else { String::new() };
            refuse!("--tile {asked}: the side of a part is {MIN_TILE} to {most} pixels here{multiples}");
        }
        match self.overlap {
            Some(overlap) if overlap > largest_overlap(tile, multiple) => refuse!(
                "--overlap {overlap} leaves nothing of parts of {tile} pixels; {} would be the most, and a larger --tile has \
                 room for more",
                largest_overlap(tile, multiple)
            ),
            _ => Ok(()),
        }
    }
}

/// How large pictures become.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Enlargement {
    /// As the network makes them.
    #[default]
    Own,
    /// So many times as large along each side, at most what the network makes them.
    By(f64),
    /// Of this size, at most what the network makes them.
    To(Size),
}

impl Enlargement {
    pub(super) fn size_of(self, picture: Size, factor: usize) -> Result<Size> {
        let own = Size { width: picture.width.saturating_mul(factor), height: picture.height.saturating_mul(factor) };
        let larger = |what: String| {
            refuse!(
                "{what} is larger than this upscaler makes a picture of {picture}, which is {factor} times as large along \
                 each side: {own}; upscale it twice, or take an upscaler of a larger factor"
            )
        };
        match self {
            Self::Own => Ok(own),
            Self::By(scale) if !scale.is_finite() || scale <= 0.0 => {
                refuse!("--scale {scale} is no number of times that a picture could become as large")
            }
            Self::By(scale) if scale > factor as f64 => larger(format!("--scale {scale}")),
            Self::By(scale) => {
                let side = |side: usize| ((side as f64 * scale).round() as usize).max(1);
                Ok(Size { width: side(picture.width), height: side(picture.height) })
            }
            Self::To(size) if size.n_pixels() == 0 => refuse!("a picture of {size} has no pixels"),
            Self::To(size) if size.width > own.width || size.height > own.height => larger(size.to_string()),
            Self::To(size) => Ok(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Size = Size { width: 33, height: 1 };

    #[test]
    fn sizes_are_rounded_and_never_larger_than_the_network_makes_them() {
        let size = |enlargement: Enlargement| enlargement.size_of(PICTURE, 4).map(|s| (s.width, s.height));
        assert_eq!(size(Enlargement::Own).unwrap(), (132, 4));
        assert_eq!(size(Enlargement::By(1.5)).unwrap(), (50, 2));
        assert_eq!(size(Enlargement::By(0.01)).unwrap(), (1, 1));
        assert_eq!(size(Enlargement::To(Size { width: 100, height: 3 })).unwrap(), (100, 3));
        for (enlargement, words) in [
            (Enlargement::By(4.1), "--scale 4.1 is larger than this upscaler makes a picture of 33x1"),
            (Enlargement::By(f64::NAN), "is no number of times"),
            (Enlargement::By(-1.0), "is no number of times"),
            (Enlargement::To(Size { width: 133, height: 1 }), "133x1 is larger"),
            (Enlargement::To(Size { width: 0, height: 1 }), "no pixels"),
        ] {
            let error = size(enlargement).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn parts_that_are_no_parts_are_refused() {
        let refused = |tile: Option<usize>, overlap: Option<usize>, words: &str| {
            let options = UpscalerOptions { tile, overlap, ..UpscalerOptions::default() };
            let error = options.check(options.longest(), 4, 1024).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(Some(18), None, "16 to 1024 pixels here, a multiple of 4");
        refused(Some(2048), None, "16 to 1024");
        refused(Some(64), Some(31), "--overlap 31 leaves nothing of parts of 64 pixels; 30 would be the most");
        refused(None, Some(127), "126 would be the most");
        assert!(UpscalerOptions::default().check(USUAL_TILE, 4, 1024).is_ok());
    }
}
