//! Tiles put together, row of tiles by row of tiles.
//!
//! A pixel is finished by the last tile that counts in it. Until then, what earlier tiles have for it is kept as they gave
//! it: of the tile before, a strip of columns; of the row of tiles before, a strip of rows.

use super::tiling::Span;
use crate::image::Size;

/// Rows of an enlarged picture, of which some are being made.
pub(super) struct Rows {
    /// Pixels per row of the enlarged picture.
    width: usize,
    /// Of an enlarged tile.
    tile: Size,
    vertical: Span,
    /// Bytes of the rows that this row of tiles finishes.
    pixels: Vec<u8>,
    /// What the tile before has for the columns in which this one fades in: three values a pixel, for each row that counts.
    columns: Vec<f32>,
    /// What the row of tiles before has for the rows in which this one fades in.
    above: Vec<f32>,
    /// What this one has for those in which the next fades in.
    below: Vec<f32>,
}

impl Rows {
    pub(super) fn new(width: usize, tile: Size) -> Self {
        let vertical = Span { start: 0, enlarged_start: 0, own: 0..0, fading: Default::default(), handed_on: 0..0 };
        let (pixels, columns, above, below) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { width, tile, vertical, pixels, columns, above, below }
    }

    /// Begins a row of tiles.
    pub(super) fn begin(&mut self, vertical: &Span) {
        self.vertical = vertical.clone();
        self.pixels.clear();
        self.pixels.resize(vertical.own.len() * self.width * 3, 0);
        std::mem::swap(&mut self.above, &mut self.below);
        self.below.clear();
        self.below.resize(vertical.handed_on.len() * self.width * 3, 0.0);
        self.columns.clear();
    }

    /// Adds the next tile of the row, by the planes of its values.
    pub(super) fn add(&mut self, planes: &[f32], horizontal: &Span) {
        let plane = self.tile.n_pixels();
        let mut handed_on = Vec::with_capacity(self.columns.len());
        let mut before = std::mem::take(&mut self.columns).into_iter();
        for y in self.vertical.own.start..self.vertical.handed_on.end {
            let row = (y - self.vertical.enlarged_start) * self.tile.width;
            let at = |x: usize, channel: usize| planes[channel * plane + row + x - horizontal.enlarged_start];
            for x in horizontal.own.clone() {
                let is_fading = horizontal.fading.range.contains(&x);
                let share = horizontal.fading.share(x);
                for channel in 0..3 {
                    let own = at(x, channel);
                    let earlier = if is_fading { before.next().unwrap_or(own) } else { own };
                    self.put(x, y, channel, mixed(earlier, own, share));
                }
            }
            handed_on.extend(horizontal.handed_on.clone().flat_map(|x| [0, 1, 2].map(|channel| at(x, channel))));
        }
        self.columns = handed_on;
    }

    /// Takes a value that is finished along its row.
    fn put(&mut self, x: usize, y: usize, channel: usize, value: f32) {
        let at = |row: usize| (row * self.width + x) * 3 + channel;
        let Span { own, fading, handed_on, .. } = &self.vertical;
        if y >= own.end {
            self.below[at(y - handed_on.start)] = value;
            return;
        }
        let value = match fading.range.contains(&y) {
            true => mixed(self.above[at(y - fading.range.start)], value, fading.share(y)),
            false => value,
        };
        // As Real-ESRGAN rounds.
        self.pixels[at(y - own.start)] = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    }

    /// The rows that are finished.
    pub(super) fn finish(&self) -> &[u8] {
        &self.pixels
    }
}

/// Equal values stay what they are, to the bit.
fn mixed(earlier: f32, later: f32, share: f32) -> f32 {
    earlier + (later - earlier) * share
}
