//! The size of a picture.

/// Columns and rows of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// The size with both sides cut down to a multiple, but not below it: what diffusers resizes a picture to where no size is asked for.
    ///
    /// ```
    /// use sd_runtime::image::Size;
    /// let size = Size { width: 90, height: 6 };
    /// assert_eq!(size.cut_to_multiple(8), Size { width: 88, height: 8 });
    /// ```
    #[must_use]
    pub fn cut_to_multiple(self, of: usize) -> Self {
        let of = of.max(1);
        let cut = |side: usize| (side - side % of).max(of);
        Self { width: cut(self.width), height: cut(self.height) }
    }

    /// Number of pixels.
    #[must_use]
    pub fn n_pixels(self) -> usize {
        self.width.saturating_mul(self.height)
    }

    pub(super) fn ratio(self) -> f64 {
        self.width as f64 / self.height as f64
    }

    /// Both sides at least 1.
    pub(super) fn at_least_one(self) -> Self {
        Self { width: self.width.max(1), height: self.height.max(1) }
    }
}

impl std::fmt::Display for Size {
    /// Width first, as everywhere in arguments.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}
