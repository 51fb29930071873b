//! Latents at a larger size, for a second pass of denoising there.
// Source of the rules: PyTorch 2.15, torch.nn.functional.interpolate with align_corners=False, which AUTOMATIC1111's web UI
// enlarges latents with.

use host_tensor::HostTensor;

use crate::error::{Result, RuntimeError};

/// How latents are enlarged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LatentFilter {
    /// Along a line between neighbours.
    #[default]
    Bilinear,
    /// The same, as it also makes things smaller; larger, it is the same.
    BilinearAntialiased,
    /// Keys' cubic with a = −3/4.
    Bicubic,
    /// Keys' cubic with a = −1/2, whose weights end where the latents end.
    BicubicAntialiased,
    /// The latent at the place rounded down.
    Nearest,
    /// The latent in whose middle the place lies nearest.
    NearestExact,
}

/// What a value of a longer side is made of: places of the shorter one, and their weights.
type Taps = Vec<(usize, f64)>;

impl LatentFilter {
    /// What value `at` of a side of `to` is made of, where the side was `from` long.
    fn taps(self, at: usize, from: usize, to: usize) -> Taps {
        let scale = from as f64 / to as f64;
        let last = from.saturating_sub(1);
        match self {
            // PyTorch's places are of single precision.
            Self::Nearest => vec![(((at as f32 * (from as f32 / to as f32)) as usize).min(last), 1.0)],
            Self::NearestExact => {
                vec![((((at as f32 + 0.5) * (from as f32 / to as f32)) as usize).min(last), 1.0)]
            }
            Self::Bilinear => {
                let place = ((at as f64 + 0.5) * scale - 0.5).max(0.0);
                let first = (place as usize).min(last);
                let share = place - first as f64;
                vec![(first, 1.0 - share), ((first + 1).min(last), share)]
            }
            Self::Bicubic => {
                let place = (at as f64 + 0.5) * scale - 0.5;
                let first = place.floor();
                let tap = |offset: i32| {
                    let idx = (first + f64::from(offset)).clamp(0.0, last as f64) as usize;
                    (idx, cubic(place - first - f64::from(offset), -0.75))
                };
                (-1..=2).map(tap).collect()
            }
            Self::BilinearAntialiased => bounded(at, from, scale, 1.0, |x| (1.0 - x.abs()).max(0.0)),
            Self::BicubicAntialiased => bounded(at, from, scale, 2.0, |x| cubic(x, -0.5)),
        }
    }
}

/// A kernel's weights over what of it lies inside, which add up to 1.
fn bounded(at: usize, from: usize, scale: f64, support: f64, kernel: impl Fn(f64) -> f64) -> Taps {
    let stretch = scale.max(1.0);
    let (centre, reach) = ((at as f64 + 0.5) * scale, support * stretch);
    let first = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5) as usize).min(from);
    let weights: Taps = (first..end).map(|idx| (idx, kernel((idx as f64 - centre + 0.5) / stretch))).collect();
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights.into_iter().map(|(idx, weight)| (idx, weight / sum)).collect()
}

/// Keys' cubic, by the distance from its centre.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}

/// Latents `[1, C, h, w]` at another `[height, width]`, in f32.
///
/// # Errors
/// [`RuntimeError::Options`] for a tensor of another rank, or without elements.
pub fn enlarge(latents: &HostTensor, [height, width]: [usize; 2], filter: LatentFilter) -> Result<HostTensor> {
    let &[1, channels, h, w] = latents.shape() else {
        return Err(RuntimeError::Options(format!("latents of shape {:?} are not [1, C, h, w]", latents.shape())));
    };
    if h == 0 || w == 0 {
        return Err(RuntimeError::Options("latents without elements cannot be enlarged".into()));
    }
    let values = latents.to_f32_vec();
    let taps = |to: usize, from: usize| -> Vec<Taps> { (0..to).map(|at| filter.taps(at, from, to)).collect() };
    let (across, down) = (taps(width, w), taps(height, h));
    let mut out = Vec::with_capacity(channels * height * width);
    for plane in values.chunks(h * w) {
        let sum =
            |taps: &Taps, value: &dyn Fn(usize) -> f64| taps.iter().map(|(idx, weight)| weight * value(*idx)).sum();
        let wide: Vec<f64> =
            plane.chunks(w).flat_map(|row| across.iter().map(move |taps| sum(taps, &|x| f64::from(row[x])))).collect();
        for taps in &down {
            out.extend((0..width).map(|x| -> f64 { sum(taps, &|y| wide[y * width + x]) }).map(|value| value as f32));
        }
    }
    Ok(HostTensor::from_f32([1, channels, height, width], out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of three, made 4 by 5; `filter` by PyTorch 2.15.
    #[track_caller]
    fn check(filter: LatentFilter, want: &[f32]) {
        let latents = HostTensor::from_f32([1, 1, 2, 3], vec![0.0, 1.0, 4.0, -2.0, 3.0, 8.0]);
        let got = enlarge(&latents, [4, 5], filter).unwrap();
        assert_eq!(got.shape(), [1, 1, 4, 5]);
        testkit::assert_all_close("latents", want, &got.to_f32_vec(), 1e-5, 1e-5);
    }

    #[test]
    fn latents_are_enlarged_as_pytorch_does() {
        use LatentFilter::*;
        let bilinear =
            [0.0, 0.4, 1.0, 2.8, 4.0, -0.5, 0.3, 1.5, 3.6, 5.0, -1.5, 0.1, 2.5, 5.2, 7.0, -2.0, 0.0, 3.0, 6.0, 8.0];
        check(Bilinear, &bilinear);
        check(BilinearAntialiased, &bilinear);
        check(
            Bicubic,
            &[
                0.155_438, 0.234_438, 0.789_062, 2.537_594, 3.845_876, -0.636_125, 0.037_876, 1.453_125, 3.703_688,
                5.237_751, -1.939_875, -0.285_873, 2.546_875, 5.624_313, 7.530_251, -2.731_437, -0.482_435, 3.210_938,
                6.790_406, 8.922_127,
            ],
        );
        check(
            BicubicAntialiased,
            &[
                0.127_636, 0.276_997, 0.823_529, 2.685_689, 3.860_155, -0.552_291, 0.0742, 1.414_286, 3.7129,
                5.086_253, -1.900_539, -0.327_932, 2.585_714, 5.749_787, 7.517_52, -2.580_466, -0.530_729, 3.176_471,
                6.776_998, 8.743_618,
            ],
        );
        check(Nearest, &[0., 0., 1., 1., 4., 0., 0., 1., 1., 4., -2., -2., 3., 3., 8., -2., -2., 3., 3., 8.]);
        check(NearestExact, &[0., 0., 1., 4., 4., 0., 0., 1., 4., 4., -2., -2., 3., 8., 8., -2., -2., 3., 8., 8.]);
    }

    #[test]
    fn channels_stay_apart_and_nothing_is_not_enlarged() {
        let latents = HostTensor::from_f32([1, 2, 1, 1], vec![1.0, -5.0]);
        let got = enlarge(&latents, [2, 1], LatentFilter::Bicubic).unwrap().to_f32_vec();
        assert_eq!(got, [1.0, 1.0, -5.0, -5.0]);
        assert!(enlarge(&HostTensor::from_f32([1, 2], vec![0.0; 2]), [2, 2], LatentFilter::Nearest).is_err());
        assert!(enlarge(&HostTensor::from_f32([1, 2, 0, 3], vec![]), [2, 2], LatentFilter::Nearest).is_err());
    }
}
