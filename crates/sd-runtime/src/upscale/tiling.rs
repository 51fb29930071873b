//! Where tiles lie along a side, which part of each is kept, and what they take of the picture.
//!
//! Tiles have one size. They are spread evenly over a side, so that none stands out of it and none does more than its share,
//! and meet in the middle of what they have in common. Around there one fades into the next, over a quarter of the context on
//! either side, so three quarters of it remain where a tile still counts; less where the next seam is near, for in a pixel
//! no more than two tiles count.

use std::ops::Range;

use crate::image::{RgbImage, Size};

/// A tile along one side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// Its first pixel in the picture.
    pub(super) start: usize,
    /// The same in the enlarged picture.
    pub(super) enlarged_start: usize,
    /// Pixels of the enlarged picture that are finished with it.
    pub(super) own: Range<usize>,
    /// Those at the beginning of them in which it fades in.
    pub(super) fading: Fade,
    /// Those behind its own, in which the next one fades in.
    pub(super) handed_on: Range<usize>,
}

/// A seam: pixels of the enlarged picture in which one tile becomes the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fade {
    pub(super) range: Range<usize>,
    /// Where both count as much, in pixels of the enlarged picture.
    center: f32,
    /// Pixels from no share to the whole one.
    length: f32,
}

impl Fade {
    /// The share of the later tile in a pixel of the range.
    pub(super) fn share(&self, pixel: usize) -> f32 {
        ((pixel as f32 + 0.5 - self.center) / self.length + 0.5).clamp(0.0, 1.0)
    }
}

/// The most context that tiles of a side have room for, of networks that take multiples of so many pixels.
#[must_use]
pub const fn largest_overlap(tile: usize, multiple: usize) -> usize {
    tile.saturating_sub(multiple) / 2
}

/// The tiles along a side. Those of a network that takes multiples begin at multiples, so that it sees the same squares of
/// pixels whatever tile they are in.
///
/// `2 · overlap + multiple` is at most `tile`, which is a multiple itself.
pub(super) fn spans(side: usize, tile: usize, overlap: usize, multiple: usize, factor: usize) -> Vec<Span> {
    let starts = starts(side, tile, overlap, multiple);
    let mut spans: Vec<Span> = Vec::with_capacity(starts.len());
    // Seams are as far apart as tiles begin.
    let nearest = starts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or_default();
    let reach = (overlap as f32 / 4.0).min(nearest.saturating_sub(1) as f32 / 2.0);
    for (idx, &start) in starts.iter().enumerate() {
        let fading = match idx.checked_sub(1) {
            Some(before) => fade(starts[before] + tile, start, reach, factor),
            None => Fade::default(),
        };
        let (begin, end) = (fading.range.start, side * factor);
        if let Some(last) = spans.last_mut() {
            last.own.end = begin;
            last.handed_on = fading.range.clone();
        }
        spans.push(Span { start, enlarged_start: start * factor, own: begin..end, fading, handed_on: end..end });
    }
    spans
}

fn starts(side: usize, tile: usize, overlap: usize, multiple: usize) -> Vec<usize> {
    // In units of the multiple, rounded up: what stands out is a reflection.
    let left_over = side.div_ceil(multiple).saturating_sub(tile / multiple);
    let step = ((tile - (2 * overlap).min(tile)) / multiple).max(1);
    let n = left_over.div_ceil(step);
    (0..=n).map(|idx| (idx * left_over).checked_div(n).map_or(0, |steps| steps * multiple)).collect()
}

/// How a tile that ends here becomes one that starts there, over so many pixels on either side of their middle.
fn fade(end: usize, start: usize, reach: f32, factor: usize) -> Fade {
    let middle = (start + end) as f32 / 2.0;
    let enlarged = |at: f32| at * factor as f32;
    let range = enlarged(middle - reach).floor() as usize..enlarged(middle + reach).ceil() as usize;
    Fade { range, center: enlarged(middle), length: enlarged(2.0 * reach).max(f32::EPSILON) }
}

/// Planes of a part of a picture, from 0 to 1; behind its right and lower edge the picture is reflected.
pub(super) fn planes(picture: &RgbImage, [left, top]: [usize; 2], tile: Size) -> Vec<f32> {
    let Size { width, height } = picture.size();
    let columns: Vec<usize> = (left..left + tile.width).map(|x| reflected(x, width)).collect();
    let mut planes = Vec::with_capacity(tile.n_pixels() * 3);
    for channel in 0..3 {
        for y in top..top + tile.height {
            let row = &picture.pixels()[reflected(y, height) * width * 3..];
            planes.extend(columns.iter().map(|x| f32::from(row[x * 3 + channel]) / 255.0));
        }
    }
    planes
}

/// A place in a side that is reflected at both ends, again and again; the pixels at the ends are there once.
const fn reflected(at: usize, side: usize) -> usize {
    if at < side {
        return at;
    }
    let period = if side > 1 { 2 * side - 2 } else { 1 };
    let at = at % period;
    if at < side { at } else { period - at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_finished_once_and_lies_in_its_tile() {
        for multiple in [1, 2, 4, 8] {
            for (side, tile, overlap) in [
                (1, 8, 0),
                (8, 8, 2),
                (9, 8, 0),
                (100, 32, 8),
                (101, 32, 12),
                (1000, 64, 16),
                (65, 64, 28),
                (150, 96, 40),
            ] {
                let overlap = overlap.min((tile - multiple) / 2);
                for factor in [1, 2, 4] {
                    let spans = spans(side, tile, overlap, multiple, factor);
                    let case = format!("{side} {tile} {overlap} {multiple} {factor}: {spans:?}");
                    assert_eq!(spans[0].own.start, 0, "{case}");
                    assert_eq!(spans.last().unwrap().own.end, side * factor, "{case}");
                    for pair in spans.windows(2) {
                        assert_eq!(pair[0].own.end, pair[1].own.start, "{case}");
                        assert_eq!(pair[0].handed_on, pair[1].fading.range, "{case}");
                        assert!(pair[1].fading.range.end <= pair[1].own.end, "{case}");
                        assert!(pair[0].start + tile >= pair[1].start + 2 * overlap, "{case}");
                    }
                    for span in &spans {
                        assert!(span.start % multiple == 0, "{case}");
                        assert!(span.start + tile < side + tile.max(multiple), "{case}");
                        assert!(span.own.start >= span.enlarged_start, "{case}");
                        assert!(span.handed_on.end <= (span.start + tile) * factor, "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_rise_from_none_to_all_around_the_middle() {
        let fade = fade(40, 20, 2.0, 4);
        assert_eq!((fade.range.clone(), fade.share(112), fade.share(127)), (112..128, 0.03125, 0.96875));
        assert_eq!(fade.share(119) + fade.share(120), 1.0);
        let hard = super::fade(20, 20, 0.0, 4);
        assert_eq!((hard.range.clone(), hard.share(79), hard.share(80)), (80..80, 0.0, 1.0));
    }

    #[test]
    fn what_stands_out_is_a_reflection() {
        let at = |side: usize| (0..7).map(|x| reflected(x, side)).collect::<Vec<_>>();
        assert_eq!(at(4), [0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(at(2), [0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(at(1), [0; 7]);
        let picture = RgbImage::new(2, 1, vec![0, 51, 102, 255, 204, 153]).unwrap();
        let planes = planes(&picture, [1, 0], Size { width: 2, height: 2 });
        assert_eq!(planes, [1.0, 0.0, 1.0, 0.0, 0.8, 0.2, 0.8, 0.2, 0.6, 0.4, 0.6, 0.4]);
    }
}
