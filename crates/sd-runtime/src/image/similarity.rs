//! How alike two pictures look: SSIM and MS-SSIM.
//!
//! SSIM is that of Wang et al. (2004): means, variances and covariance under a Gaussian window of 11 pixels and deviation 1.5,
//! only where the window lies within the picture, K₁ 0.01 and K₂ 0.03; the mean of red, green and blue, each by itself, as
//! scikit-image 0.26 and pytorch-msssim 1.0 compute it.
//! MS-SSIM (2003) goes on with halved pictures. Its five scales need 176 pixels; of smaller pictures as many scales count as
//! have room for a window, with the weights of these alone.

use super::RgbImage;
use crate::error::{Result, RuntimeError};

/// Pixels of the window.
const WINDOW: usize = 11;
const DEVIATION: f64 = 1.5;
/// (0.01 · 255)² and (0.03 · 255)².
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;
/// Exponents of the scales, the finest first.
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// How alike two pictures of one size look; 1 is the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Structural similarity, −1 to 1.
    pub ssim: f64,
    /// Structural similarity over several scales, 0 to 1.
    pub ms_ssim: f64,
}

impl Similarity {
    /// Compares two pictures; which is which does not matter.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`] unless both have the same size, [`RuntimeError::Options`] where they are smaller than 11
    /// pixels.
    pub fn between(a: &RgbImage, b: &RgbImage) -> Result<Self> {
        a.check_same_size(b.size())?;
        if a.width.min(a.height) < WINDOW {
            return Err(RuntimeError::Options(format!(
                "SSIM looks through a window of {WINDOW} pixels, and pictures of {} are smaller",
                a.size()
            )));
        }
        let channels = [0, 1, 2].map(|channel| of_channel(&Grid::of(a, channel), &Grid::of(b, channel)));
        let mean = |value: fn(&Self) -> f64| channels.iter().map(value).sum::<f64>() / channels.len() as f64;
        Ok(Self { ssim: mean(|s| s.ssim), ms_ssim: mean(|s| s.ms_ssim) })
    }
}

/// Values in rows.
#[derive(Clone)]
struct Grid {
    width: usize,
    values: Vec<f64>,
}

fn of_channel(a: &Grid, b: &Grid) -> Similarity {
    let (mut a, mut b) = (a.clone(), b.clone());
    let mut scales = vec![Scale::of(&a, &b)];
    while scales.len() < WEIGHTS.len() && a.halved_has_room() {
        (a, b) = (a.halved(), b.halved());
        scales.push(Scale::of(&a, &b));
    }
    let used = &WEIGHTS[..scales.len()];
    let share = WEIGHTS.iter().sum::<f64>() / used.iter().sum::<f64>();
    let last = scales.len() - 1;
    let factor = |(i, (scale, weight)): (usize, (&Scale, &f64))| {
        let value = if i == last { scale.ssim } else { scale.contrast };
        value.max(0.0).powf(weight * share)
    };
    let ms_ssim = scales.iter().zip(used).enumerate().map(factor).product();
    Similarity { ssim: scales[0].ssim, ms_ssim }
}

/// Means over one scale.
struct Scale {
    ssim: f64,
    /// The same without luminance.
    contrast: f64,
}

impl Scale {
    fn of(a: &Grid, b: &Grid) -> Self {
        let window = window();
        let [mean_a, mean_b] = [a, b].map(|grid| grid.seen_through(&window).values);
        let mean_of = |x: &Grid, y: &Grid| x.times(y).seen_through(&window).values;
        let (aa, bb, ab) = (mean_of(a, a), mean_of(b, b), mean_of(a, b));
        let (mut ssim, mut contrast) = (0.0, 0.0);
        for (i, (ma, mb)) in mean_a.iter().zip(&mean_b).enumerate() {
            let (variances, covariance) = (aa[i] - ma * ma + bb[i] - mb * mb, ab[i] - ma * mb);
            let of_contrast = (2.0 * covariance + C2) / (variances + C2);
            contrast += of_contrast;
            ssim += of_contrast * (2.0 * ma * mb + C1) / (ma * ma + mb * mb + C1);
        }
        let n = mean_a.len() as f64;
        Self { ssim: ssim / n, contrast: contrast / n }
    }
}

/// The Gaussian window of one direction, of sum 1.
fn window() -> [f64; WINDOW] {
    let middle = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] =
        std::array::from_fn(|i| (-(i as f64 - middle).powi(2) / (2.0 * DEVIATION * DEVIATION)).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

impl Grid {
    fn of(image: &RgbImage, channel: usize) -> Self {
        let values = image.pixels.iter().skip(channel).step_by(3).map(|&v| f64::from(v)).collect();
        Self { width: image.width, values }
    }

    fn height(&self) -> usize {
        self.values.len() / self.width
    }

    fn times(&self, other: &Self) -> Self {
        Self { width: self.width, values: self.values.iter().zip(&other.values).map(|(a, b)| a * b).collect() }
    }

    /// Means under the window, where it lies within.
    fn seen_through(&self, window: &[f64; WINDOW]) -> Self {
        let mean = |row: &[f64]| row.iter().zip(window).map(|(x, w)| x * w).sum::<f64>();
        let across: Vec<f64> =
            self.values.chunks_exact(self.width).flat_map(|row| row.windows(WINDOW).map(mean)).collect();
        let width = self.width + 1 - WINDOW;
        let down = |i: usize| (0..WINDOW).map(|k| across[i + k * width] * window[k]).sum();
        Self { width, values: (0..(self.height() + 1 - WINDOW) * width).map(down).collect() }
    }

    fn halved_has_room(&self) -> bool {
        self.width.min(self.height()) / 2 >= WINDOW
    }

    /// Means of squares of four; an odd last row or column is left out.
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height() / 2);
        let mean = |i: usize| {
            let at = 2 * (i / width) * self.width + 2 * (i % width);
            let [a, b] = [at, at + self.width].map(|at| self.values[at] + self.values[at + 1]);
            (a + b) / 4.0
        };
        Self { width, values: (0..width * height).map(mean).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, k: usize) -> RgbImage {
        let value = |x: usize, y: usize, c: usize| {
            (x * (3 + c) + y * (5 - c) + (x * y) / (7 + c) + k * ((x / 5 + y / 3 + c) % 4) * 11) % 256
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [0, 1, 2].map(|c| value(x, y, c) as u8)));
        RgbImage::new(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn ssim_is_that_of_scikit_image_and_ms_ssim_that_of_pytorch_msssim() {
        // scikit-image 0.26 (gaussian_weights, sigma 1.5, use_sample_covariance=False), pytorch-msssim 1.0 in f64.
        for (width, height, ssim) in [(192, 176, 0.629_984_589), (64, 64, 0.579_526_938), (40, 23, 0.584_436_689)] {
            let found = Similarity::between(&picture(width, height, 0), &picture(width, height, 1)).unwrap();
            assert!((found.ssim - ssim).abs() < 1e-6, "{width}x{height}: {found:?}");
        }
        let found = Similarity::between(&picture(192, 176, 0), &picture(192, 176, 1)).unwrap();
        assert!((found.ms_ssim - 0.789_916_272).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn the_same_picture_is_wholly_alike_and_which_is_which_does_not_matter() {
        let (a, b) = (picture(64, 48, 0), picture(64, 48, 1));
        let same = Similarity::between(&a, &a).unwrap();
        assert!((same.ssim - 1.0).abs() < 1e-12 && (same.ms_ssim - 1.0).abs() < 1e-12, "{same:?}");
        let (ab, ba) = (Similarity::between(&a, &b).unwrap(), Similarity::between(&b, &a).unwrap());
        assert!((ab.ssim - ba.ssim).abs() < 1e-12 && ab.ms_ssim < 1.0, "{ab:?} {ba:?}");
    }

    #[test]
    fn small_pictures_have_fewer_scales_and_tiny_ones_none() {
        let (a, b) = (picture(11, 21, 0), picture(11, 21, 1));
        let one_scale = Similarity::between(&a, &b).unwrap();
        assert!((one_scale.ms_ssim - one_scale.ssim.max(0.0)).abs() < 0.05, "{one_scale:?}");
        assert!(Similarity::between(&picture(64, 10, 0), &picture(64, 10, 0)).is_err());
        assert!(Similarity::between(&picture(64, 32, 0), &picture(32, 64, 0)).is_err());
    }
}
