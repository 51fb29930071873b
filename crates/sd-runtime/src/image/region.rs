//! Parts of pictures.

use super::Size;

/// A part of a picture: columns from `left` to before `right`, rows from `top` to before `bottom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// The first column.
    pub left: usize,
    /// The first row.
    pub top: usize,
    /// The column behind the last.
    pub right: usize,
    /// The row behind the last.
    pub bottom: usize,
}

impl Region {
    /// Columns and rows; 0 where the region ends before it begins.
    #[must_use]
    pub fn size(self) -> Size {
        Size { width: self.right.saturating_sub(self.left), height: self.bottom.saturating_sub(self.top) }
    }

    /// The part of it that lies in a picture.
    pub(super) fn within(self, picture: Size) -> Self {
        let (right, bottom) = (self.right.min(picture.width), self.bottom.min(picture.height));
        Self { left: self.left.min(right), top: self.top.min(bottom), right, bottom }
    }

    /// The region with a border, widened where it can be to the proportions in which it is to be drawn.
    // diffusers 0.42 and A1111: VaeImageProcessor.get_crop_region.
    pub(super) fn around(self, padding: usize, drawn: Size, picture: Size) -> Self {
        let padded = Self {
            left: self.left.saturating_sub(padding),
            top: self.top.saturating_sub(padding),
            right: self.right.saturating_add(padding).min(picture.width),
            bottom: self.bottom.saturating_add(padding).min(picture.height),
        };
        let (size, wanted) = (padded.size(), drawn.ratio());
        if size.ratio() > wanted {
            let more = (size.width as f64 / wanted - size.height as f64) as usize;
            let (top, bottom) = widened((padded.top, padded.bottom), more, picture.height);
            Self { top, bottom, ..padded }
        } else {
            let more = (size.height as f64 * wanted - size.width as f64) as usize;
            let (left, right) = widened((padded.left, padded.right), more, picture.width);
            Self { left, right, ..padded }
        }
    }
}

/// A span with this many pixels more, half of them on either side, moved into the picture and cut to it.
fn widened((start, end): (usize, usize), more: usize, picture: usize) -> (usize, usize) {
    let (start, end) = (start as i128 - (more / 2) as i128, (end + more - more / 2) as i128);
    let out = (end - picture as i128).max(0);
    let (start, end) = (start - out, end - out);
    let below = (-start).max(0);
    ((start + below) as usize, ((end + below) as usize).min(picture))
}
