//! Bicubic resizing, byte for byte as Pillow's `Image.resize(size, BICUBIC)`.
//!
//! The filter widens when shrinking (antialiasing), weights are 22-bit fixed point, and the picture is rounded to bytes between the horizontal and the vertical pass.
//! Source of the rules: Pillow's `Resample.c`, 8 bits per channel.

use super::RgbImage;

/// Fixed-point bits of a weight: 32 less 8 for the value and 2 for the overshoot of negative lobes.
const PRECISION_BITS: u32 = 22;

/// Keys' cubic with a = −1/2.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Weights of the input values around one output value.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The windows that turn `from` values into `to`.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let widening = scale.max(1.0);
    let support = 2.0 * widening;
    (0..to)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let raw: Vec<f64> = (start..end).map(|j| bicubic((j as f64 - center + 0.5) * (1.0 / widening))).collect();
            let sum: f64 = raw.iter().sum();
            let fixed = |w: f64| {
                let w = w / sum * f64::from(1u32 << PRECISION_BITS);
                (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
            };
            Window { start, weights: raw.into_iter().map(fixed).collect() }
        })
        .collect()
}

impl Window {
    /// The weighted sum of values that lie `stride` apart, as a byte.
    fn apply(&self, values: &[u8], first: usize, stride: usize) -> u8 {
        let rounding = 1i32 << (PRECISION_BITS - 1);
        let sum = self.weights.iter().enumerate().fold(rounding, |sum, (k, &w)| {
            sum.wrapping_add(w.wrapping_mul(i32::from(values[first + (self.start + k) * stride])))
        });
        (sum >> PRECISION_BITS).clamp(0, 255) as u8
    }
}

impl RgbImage {
    /// The picture at another size; both sides at least 1.
    #[must_use]
    pub fn resize(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let mut wide = Self::black(width, self.height);
        if width == self.width {
            wide.pixels.clone_from(&self.pixels);
        } else {
            let columns = windows(self.width, width);
            for (y, row) in wide.pixels.chunks_exact_mut(width * 3).enumerate() {
                let source = &self.pixels[y * self.width * 3..][..self.width * 3];
                for (pixel, window) in row.chunks_exact_mut(3).zip(&columns) {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = window.apply(source, channel, 3);
                    }
                }
            }
        }
        if height == self.height {
            return wide;
        }
        let mut out = Self::black(width, height);
        let stride = width * 3;
        for (row, window) in out.pixels.chunks_exact_mut(stride).zip(windows(self.height, height)) {
            for (i, value) in row.iter_mut().enumerate() {
                *value = window.apply(&wide.pixels, i, stride);
            }
        }
        out
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
        assert_eq!(pattern(5, 3).resize(2, 2).pixels(), [86, 126, 143, 145, 121, 145, 89, 72, 141, 91, 141, 84]);
    }

    #[test]
    fn larger_pictures_resize_as_pillow_does() {
        for ((from_w, from_h), (to_w, to_h), want) in [
            ((512, 512), (224, 224), 887540401),
            ((64, 64), (224, 224), 496966159),
            ((97, 61), (356, 224), 504746801),
            ((300, 200), (336, 224), 4263787),
            ((128, 128), (32, 128), 646397494),
            ((50, 90), (50, 17), 553380738),
        ] {
            let got = checksum(&pattern(from_w, from_h).resize(to_w, to_h));
            assert_eq!(got, want, "{from_w}x{from_h} to {to_w}x{to_h}");
        }
    }
}
