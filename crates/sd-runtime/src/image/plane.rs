//! Resizing of interleaved 8-bit values, byte for byte as Pillow's `Image.resize`.
//!
//! The filter widens when shrinking (antialiasing), weights are 22-bit fixed point, and the picture is rounded to bytes between the passes.
//! Source of the rules: Pillow 13.0, 8 bits per channel; it resizes rows first where the height shrinks by far more than the width, and up to version 12 always columns first.

use std::ops::Range;

use super::Size;
use super::filter::{Filter, Kernel};

/// Fixed-point bits of a weight: 32 less 8 for the value and 2 for the overshoot of negative lobes.
const PRECISION_BITS: u32 = 22;

/// 8-bit values, some to a pixel, rows from the top.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) size: Size,
    /// Values of a pixel.
    pub(super) n_channels: usize,
    pub(super) values: &'a [u8],
}

/// What becomes of one side.
#[derive(Clone)]
pub(super) struct Side {
    /// Pixels that there are.
    from: usize,
    /// The part of them that is resized.
    part: Range<f64>,
    /// Pixels that it becomes.
    to: usize,
    /// Those of them that are wanted.
    wanted: Range<usize>,
}

impl Side {
    /// All of a side.
    pub(super) fn whole(from: usize, to: usize) -> Self {
        Self { from, part: 0.0..from as f64, to, wanted: 0..to }
    }

    /// Only some of the new pixels.
    pub(super) fn wanting(mut self, wanted: Range<usize>) -> Self {
        self.wanted = wanted;
        self
    }

    /// Of no width at all, at a place: what lies there and beyond is continued.
    pub(super) fn point(from: usize, at: usize, to: usize) -> Self {
        Self { from, part: at as f64..at as f64, to, wanted: 0..to }
    }

    fn is_unchanged(&self) -> bool {
        self.from == self.to && self.part == (0.0..self.from as f64) && self.wanted == (0..self.to)
    }

    fn scale(&self) -> f64 {
        (self.part.end - self.part.start) / self.to as f64
    }

    /// The windows that make the new pixels.
    fn windows(&self, kernel: &Kernel) -> Vec<Window> {
        let scale = self.scale();
        let widening = scale.max(1.0);
        let support = kernel.support * widening;
        let window = |i: usize| {
            let center = self.part.start + (i as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(self.from);
            let weight = |j: usize| (kernel.weight)((j as f64 - center + 0.5) * (1.0 / widening));
            Window::new(start, (start..end).map(weight).collect())
        };
        self.wanted.clone().map(window).collect()
    }

    /// The old pixel for each new one, without a filter.
    fn places(&self) -> Vec<usize> {
        let scale = self.scale();
        // Pillow adds the scale up, which rounds otherwise than a product.
        let sums = std::iter::successors(Some(self.part.start + scale * 0.5), |at| Some(at + scale));
        let places = sums.take(self.wanted.end).skip(self.wanted.start);
        places.map(|at| (at as usize).min(self.from.saturating_sub(1))).collect()
    }
}

/// Weights of the old values around one new value.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

impl Window {
    fn new(start: usize, raw: Vec<f64>) -> Self {
        let sum: f64 = raw.iter().sum();
        let fixed = |w: f64| {
            let w = if sum == 0.0 { w } else { w / sum } * f64::from(1u32 << PRECISION_BITS);
            (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
        };
        Self { start, weights: raw.into_iter().map(fixed).collect() }
    }

    /// The weighted sum of values that lie `stride` apart, as a byte.
    fn apply(&self, values: &[u8], first: usize, stride: usize) -> u8 {
        let rounding = 1i32 << (PRECISION_BITS - 1);
        let sum = self.weights.iter().enumerate().fold(rounding, |sum, (k, &w)| {
            sum.wrapping_add(w.wrapping_mul(i32::from(values[first + (self.start + k) * stride])))
        });
        (sum >> PRECISION_BITS).clamp(0, 255) as u8
    }
}

impl Plane<'_> {
    /// The values of the wanted pixels.
    pub(super) fn resize(&self, across: &Side, down: &Side, filter: Filter) -> Vec<u8> {
        let Some(kernel) = filter.kernel() else { return self.pick(&across.places(), &down.places()) };
        let (lost_rows, lost_columns) = (down.from as i64 - down.to as i64, across.from as i64 - across.to as i64);
        if lost_rows > 0 && lost_rows > 2 * lost_columns {
            let rows = self.resize_rows(down, &kernel);
            let size = Size { width: self.size.width, height: down.wanted.len() };
            return Plane { size, values: &rows, ..*self }.resize_columns(across, &kernel);
        }
        let columns = self.resize_columns(across, &kernel);
        let size = Size { width: across.wanted.len(), height: self.size.height };
        Plane { size, values: &columns, ..*self }.resize_rows(down, &kernel)
    }

    fn resize_columns(&self, side: &Side, kernel: &Kernel) -> Vec<u8> {
        if side.is_unchanged() {
            return self.values.to_vec();
        }
        let (n, windows) = (self.n_channels, side.windows(kernel));
        let mut out = Vec::with_capacity(windows.len() * self.size.height * n);
        for row in self.values.chunks_exact((self.size.width * n).max(1)) {
            out.extend(windows.iter().flat_map(|window| (0..n).map(|channel| window.apply(row, channel, n))));
        }
        out
    }

    fn resize_rows(&self, side: &Side, kernel: &Kernel) -> Vec<u8> {
        if side.is_unchanged() {
            return self.values.to_vec();
        }
        let stride = self.size.width * self.n_channels;
        let windows = side.windows(kernel);
        windows.iter().flat_map(|window| (0..stride).map(|i| window.apply(self.values, i, stride))).collect()
    }

    /// The pixels at these places.
    fn pick(&self, columns: &[usize], rows: &[usize]) -> Vec<u8> {
        let n = self.n_channels;
        let mut out = Vec::with_capacity(columns.len() * rows.len() * n);
        for y in rows {
            for x in columns {
                let at = (y * self.size.width + x) * n;
                out.extend_from_slice(&self.values[at..at + n]);
            }
        }
        out
    }
}
