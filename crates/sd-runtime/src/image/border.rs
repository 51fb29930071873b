//! More room around a picture.

use super::{GreyImage, RgbImage, Size};

/// Columns and rows that are added around a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Border {
    /// Columns before the first.
    pub left: usize,
    /// Rows above the first.
    pub top: usize,
    /// Columns behind the last.
    pub right: usize,
    /// Rows below the last.
    pub bottom: usize,
}

impl Border {
    /// Widest border that is read, in pixels.
    pub const MAX: usize = 1 << 14;

    /// Whether it adds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The size of a picture with the border.
    #[must_use]
    pub fn around(self, picture: Size) -> Size {
        let sum = |parts: [usize; 3]| parts.into_iter().fold(0, usize::saturating_add);
        Size {
            width: sum([self.left, picture.width, self.right]),
            height: sum([self.top, picture.height, self.bottom]),
        }
    }

    /// The border with which both sides of a picture become multiples, as far as there is a border to widen: on the right
    /// or below where it has any there, else on the left or above.
    ///
    /// ```
    /// use sd_runtime::image::{Border, Size};
    /// let (picture, border) = (Size { width: 61, height: 64 }, Border { left: 10, ..Border::default() });
    /// assert_eq!(border.widened(picture, 8), Border { left: 11, ..border });
    /// ```
    #[must_use]
    pub fn widened(self, picture: Size, of: usize) -> Self {
        let size = self.around(picture);
        let more = |side: usize| side.checked_next_multiple_of(of).map_or(0, |next| next - side);
        let (across, down) = (more(size.width), more(size.height));
        let on = |side: usize, more: usize| if side > 0 { side + more } else { side };
        let (right, bottom) = (on(self.right, across), on(self.bottom, down));
        let left = if right == 0 { on(self.left, across) } else { self.left };
        let top = if bottom == 0 { on(self.top, down) } else { self.top };
        Self { left, top, right, bottom }
    }
}

impl std::fmt::Display for Border {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { left, top, right, bottom } = self;
        write!(f, "{left},{top},{right},{bottom}")
    }
}

impl std::str::FromStr for Border {
    type Err = String;

    /// Reads one width for all sides, or four: left, top, right, bottom.
    fn from_str(s: &str) -> Result<Self, String> {
        let side = |text: &str| text.trim().parse::<usize>().ok().filter(|&n| n <= Self::MAX);
        let sides: Option<Vec<usize>> = s.split(',').map(side).collect();
        let border = match sides.as_deref() {
            Some(&[all]) => Self { left: all, top: all, right: all, bottom: all },
            Some(&[left, top, right, bottom]) => Self { left, top, right, bottom },
            _ => {
                return Err(format!(
                    "{s:?} is neither LEFT,TOP,RIGHT,BOTTOM in pixels, such as 0,0,128,0, nor one number for all sides; \
                     each is at most {}",
                    Self::MAX
                ));
            }
        };
        match border.is_empty() {
            true => Err(format!("{s:?} adds nothing on any side")),
            false => Ok(border),
        }
    }
}

impl RgbImage {
    /// The picture with a border, into which the pixels at its edge are continued.
    #[must_use]
    pub fn with_border(&self, border: Border) -> Self {
        let size = border.around(self.size());
        if self.size().n_pixels() == 0 {
            return Self::black(size.width, size.height);
        }
        let from = |at: usize, before: usize, side: usize| at.saturating_sub(before).min(side - 1);
        let mut pixels = Vec::with_capacity(size.n_pixels() * 3);
        for y in 0..size.height {
            let row = from(y, border.top, self.height) * self.width;
            for x in 0..size.width {
                let at = (row + from(x, border.left, self.width)) * 3;
                pixels.extend_from_slice(&self.pixels[at..at + 3]);
            }
        }
        Self { width: size.width, height: size.height, pixels }
    }
}

impl GreyImage {
    /// The picture with a white border: the mask of what is to be drawn around a picture.
    #[must_use]
    pub fn with_white_border(&self, border: Border) -> Self {
        let (own, size) = (self.size(), border.around(self.size()));
        let mut pixels = vec![255; size.n_pixels()];
        for (y, row) in self.pixels().chunks_exact(own.width.max(1)).enumerate() {
            let at = (y + border.top) * size.width + border.left;
            pixels[at..at + own.width].copy_from_slice(row);
        }
        Self::new(size, pixels).expect("invariant: a byte for each pixel of that size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_is_one_number_or_four() {
        let read = |text: &str| text.parse::<Border>();
        assert_eq!(read("64"), Ok(Border { left: 64, top: 64, right: 64, bottom: 64 }));
        assert_eq!(read("1, 2,3,0"), Ok(Border { left: 1, top: 2, right: 3, bottom: 0 }));
        assert_eq!(read("1,2,3,0").unwrap().to_string(), "1,2,3,0");
        for (text, fact) in
            [("1,2", "LEFT,TOP"), ("-1", "LEFT,TOP"), ("99999", "at most 16384"), ("0,0,0,0", "nothing")]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains(fact), "{error}");
        }
    }

    #[test]
    fn edges_are_continued_and_the_mask_is_white_there() {
        let picture = RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let border = Border { left: 1, top: 1, right: 0, bottom: 0 };
        assert_eq!(picture.with_border(border).pixels(), [1, 2, 3, 1, 2, 3, 4, 5, 6].repeat(2));
        let mask = GreyImage::new(picture.size(), vec![0, 9]).unwrap().with_white_border(border);
        assert_eq!(mask.pixels(), [255, 255, 255, 255, 0, 9]);
        assert_eq!(mask.size(), border.around(picture.size()));
    }

    #[test]
    fn only_a_side_that_has_a_border_is_widened() {
        let picture = Size { width: 61, height: 61 };
        let widened = |text: &str| text.parse::<Border>().unwrap().widened(picture, 8).to_string();
        assert_eq!(widened("4,0,1,0"), "4,0,7,0");
        assert_eq!(widened("0,5,0,0"), "0,11,0,0");
        assert_eq!(widened("3,3,0,0"), "3,3,0,0");
        assert_eq!(widened("1"), "1,1,2,2");
    }
}
