//! Blurring, byte for byte as Pillow's `GaussianBlur`: three passes of a box in either direction.
// Source of the rules: Pillow 13.0, BoxBlur.c, after Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering", 2011.

use super::{GreyImage, RgbImage};

const PASSES: usize = 3;

/// A box whose two outermost values count in part.
struct ExtendedBox {
    /// Whole values on either side of the middle one.
    radius: usize,
    /// What a whole value counts, of 2²⁴.
    whole: u32,
    /// What the values beyond them count.
    outer: u32,
}

impl ExtendedBox {
    /// The box of which three come to a Gaussian of this standard deviation.
    fn of_gaussian(deviation: f32) -> Self {
        let variance = deviation * deviation / PASSES as f32;
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let whole_radius = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
        let above = (2.0 * whole_radius + 1.0) * (whole_radius * (whole_radius + 1.0) - 3.0 * variance);
        let below = 6.0 * (variance - (whole_radius + 1.0) * (whole_radius + 1.0));
        let full = whole_radius + above / below;
        let radius = full as usize;
        let whole = ((1u32 << 24) as f32 / (full * 2.0 + 1.0)) as u32;
        let outer = ((1u64 << 24).saturating_sub((radius as u64 * 2 + 1) * u64::from(whole)) / 2) as u32;
        Self { radius, whole, outer }
    }

    /// One pass over a row, continued at both ends by its first and last value.
    fn pass(&self, row: &[u8], out: &mut [u8]) {
        let last = row.len() - 1;
        let at = |i: usize| u64::from(row[i.min(last)]);
        let behind = |i: usize, n: usize| u64::from(row[i.saturating_sub(n)]);
        let radius = self.radius;
        // The sum around the value before the first.
        let near = radius.min(row.len());
        let mut sum = at(0) * (radius as u64 + 1)
            + row[..near].iter().map(|&v| u64::from(v)).sum::<u64>()
            + at(last) * (radius - near) as u64;
        for (x, value) in out.iter_mut().enumerate() {
            sum = sum + at(x.saturating_add(radius)) - behind(x, radius + 1);
            let outer = behind(x, radius + 1) + at(x.saturating_add(radius + 1));
            let total = sum * u64::from(self.whole) + outer * u64::from(self.outer);
            *value = ((total + (1 << 23)) >> 24) as u8;
        }
    }
}

/// Blurs interleaved values along the rows, then along the columns, with bytes between all passes.
fn blurred(values: &[u8], (width, n_channels): (usize, usize), deviation: f32) -> Vec<u8> {
    let mut out = values.to_vec();
    // What is no number blurs nothing either.
    if deviation.is_nan() || deviation <= 0.0 || values.is_empty() {
        return out;
    }
    // Wider ones than any picture change nothing more.
    let deviation = deviation.min(65_536.0);
    let around = ExtendedBox::of_gaussian(deviation);
    let stride = width * n_channels;
    let height = values.len() / stride;
    for y in 0..height {
        (0..n_channels).for_each(|c| blur_line(&around, &mut out, y * stride + c, n_channels, width));
    }
    for x in 0..stride {
        blur_line(&around, &mut out, x, stride, height);
    }
    out
}

/// All passes over one line of values that lie `step` apart.
fn blur_line(around: &ExtendedBox, values: &mut [u8], first: usize, step: usize, n: usize) {
    let mut line: Vec<u8> = values[first..].iter().step_by(step).take(n).copied().collect();
    let mut next = line.clone();
    for _ in 0..PASSES {
        around.pass(&line, &mut next);
        std::mem::swap(&mut line, &mut next);
    }
    values[first..].iter_mut().step_by(step).zip(line).for_each(|(to, value)| *to = value);
}

impl GreyImage {
    /// The picture blurred by a Gaussian of this standard deviation, in pixels: how masks are made soft.
    ///
    /// At 0 and below it stays as it is.
    #[must_use]
    pub fn blur(&self, deviation: f32) -> Self {
        let pixels = blurred(self.pixels(), (self.size().width, 1), deviation);
        Self::new(self.size(), pixels).expect("invariant: as many pixels as before")
    }
}

impl RgbImage {
    /// The picture blurred by a Gaussian of this standard deviation, in pixels.
    ///
    /// At 0 and below it stays as it is.
    #[must_use]
    pub fn blur(&self, deviation: f32) -> Self {
        Self { pixels: blurred(&self.pixels, (self.width, 3), deviation), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;

    fn grey(width: usize, height: usize) -> GreyImage {
        let pixels = (0..width * height).map(|i| ((7 * i * i + 13 * i) % 251) as u8).collect();
        GreyImage::new(Size { width, height }, pixels).unwrap()
    }

    #[test]
    fn blurs_wider_than_the_picture_are_pillows() {
        // Pillow 13.0: row sums of an 11x4 picture at radii 0.3, 2 and 30.
        for (deviation, want) in
            [(0.3, [1161, 1424, 1498, 954]), (2.0, [1259, 1242, 1222, 1203]), (30.0, [875, 875, 880, 880])]
        {
            let blurred = grey(11, 4).blur(deviation);
            let sums: Vec<u32> =
                blurred.pixels().chunks(11).map(|row| row.iter().map(|&v| u32::from(v)).sum()).collect();
            assert_eq!(sums, want, "{deviation}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat_and_no_deviation_changes_nothing() {
        let flat = GreyImage::new(Size { width: 9, height: 7 }, vec![200; 63]).unwrap();
        for deviation in [0.1, 1.0, 12.5, 1e9, f32::INFINITY] {
            assert_eq!(flat.blur(deviation), flat, "{deviation}");
        }
        for deviation in [0.0, -3.0, f32::NAN] {
            assert_eq!(grey(5, 5).blur(deviation), grey(5, 5), "{deviation}");
        }
        assert_eq!(grey(0, 0).blur(3.0), grey(0, 0));
    }
}
