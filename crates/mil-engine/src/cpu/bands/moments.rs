//! Statistics of a group normalisation over a picture whose rows come in bands.

use crate::cpu::graph::GroupNorm;
use rayon::prelude::*;
use std::ops::Range;

/// Mean and sum of squared deviations of so many values.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Both together, by the rule of Chan, Golub and LeVeque, which cancels nothing.
    fn joined(self, other: Self) -> Self {
        let n = self.n + other.n;
        if n == 0.0 {
            return self;
        }
        let delta = other.mean - self.mean;
        Self {
            n,
            mean: self.mean + delta * other.n / n,
            squares: self.squares + other.squares + delta * delta * self.n * other.n / n,
        }
    }
}

/// The moments of each channel, of the rows so far.
#[derive(Debug)]
pub(super) struct ChannelMoments {
    channels: Vec<Moments>,
}

impl ChannelMoments {
    pub(super) fn new(channels: usize) -> Self {
        Self { channels: vec![Moments::default(); channels] }
    }

    /// Adds rows, each of which `row` puts into the floats that it is given: pixels of channels. Rows are joined in their
    /// order, so the number of threads changes nothing.
    pub(super) fn add(&mut self, rows: Range<usize>, row_floats: usize, row: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        let n_channels = self.channels.len();
        let of_row = |values: &mut Vec<f32>, at: usize| {
            row(at, values);
            of_pixels(values, n_channels)
        };
        let found: Vec<Vec<Moments>> = rows.into_par_iter().map_init(|| vec![0.0; row_floats], of_row).collect();
        for row in found {
            self.channels.iter_mut().zip(row).for_each(|(all, row)| *all = all.joined(row));
        }
    }

    /// The factor and the summand of each channel.
    pub(super) fn affine(&self, norm: &GroupNorm) -> [Vec<f32>; 2] {
        let n_channels = self.channels.len();
        let per_group = (n_channels / norm.groups.max(1)).max(1);
        let (mut factors, mut summands) = (Vec::with_capacity(n_channels), Vec::with_capacity(n_channels));
        for (group, channels) in self.channels.chunks(per_group).enumerate() {
            let all = channels.iter().fold(Moments::default(), |all, &channel| all.joined(channel));
            let deviation = (all.squares / all.n.max(1.0) + f64::from(norm.epsilon)).sqrt();
            for channel in group * per_group..group * per_group + channels.len() {
                let of = |values: &Option<Vec<f32>>, usual: f64| {
                    values.as_ref().and_then(|v| v.get(channel)).map_or(usual, |&v| f64::from(v))
                };
                let factor = of(&norm.gamma, 1.0) / deviation;
                factors.push(factor as f32);
                summands.push((of(&norm.beta, 0.0) - all.mean * factor) as f32);
            }
        }
        [factors, summands]
    }
}

/// The moments of each channel of a row of pixels.
fn of_pixels(values: &[f32], n_channels: usize) -> Vec<Moments> {
    let n = values.len() / n_channels;
    let mut sums = vec![0.0f32; n_channels];
    for pixel in values.chunks_exact(n_channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += v);
    }
    let means: Vec<f32> = sums.iter().map(|sum| sum / n as f32).collect();
    // What rounding has left of the deviations corrects the mean.
    let (mut rest, mut squares) = (vec![0.0f32; n_channels], vec![0.0f32; n_channels]);
    for pixel in values.chunks_exact(n_channels) {
        for (((rest, squares), v), mean) in rest.iter_mut().zip(&mut squares).zip(pixel).zip(&means) {
            let deviation = v - mean;
            *rest += deviation;
            *squares += deviation * deviation;
        }
    }
    let n = n as f64;
    let moments = |((mean, rest), squares): ((&f32, &f32), &f32)| {
        let rest = f64::from(*rest) / n;
        Moments { n, mean: f64::from(*mean) + rest, squares: f64::from(*squares) - n * rest * rest }
    };
    means.iter().zip(&rest).zip(&squares).map(moments).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::math::Activation;
    use mil::{FunctionBuilder, Opset, Type};

    #[test]
    fn bands_have_the_statistics_of_the_whole_though_the_mean_is_far_from_zero() {
        let (height, width, channels, groups) = (13, 9, 6, 3);
        let mut rng = testkit::Rng::new(3);
        let values: Vec<f32> = rng.normals(height * width * channels).iter().map(|v| 1000.0 + v).collect();
        let row = |at: usize, to: &mut [f32]| to.copy_from_slice(&values[at * width * channels..][..width * channels]);
        let mut found = ChannelMoments::new(channels);
        for rows in [0..4, 4..5, 5..13] {
            found.add(rows, width * channels, &row);
        }
        let x = FunctionBuilder::new("main", Opset::CoreML6).input("x", Type::tensor(mil::DType::F32, &[1]));
        let (gamma, beta) = (Some(vec![2.0; channels]), Some(vec![0.5; channels]));
        let norm = GroupNorm { x, groups, epsilon: 1e-5, gamma, beta, activation: Activation::Identity, out: x };
        let [factors, summands] = found.affine(&norm);
        for group in 0..groups {
            let of_group =
                || values.iter().enumerate().filter(|(i, _)| i % channels / 2 == group).map(|(_, &v)| f64::from(v));
            let n = of_group().count() as f64;
            let mean = of_group().sum::<f64>() / n;
            let variance = of_group().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            for channel in 2 * group..2 * group + 2 {
                let factor = 2.0 / (variance + 1e-5).sqrt();
                assert!(
                    (f64::from(factors[channel]) - factor).abs() < 1e-5 * factor,
                    "{} for {factor}",
                    factors[channel]
                );
                let summand = 0.5 - mean * factor;
                assert!((f64::from(summands[channel]) - summand).abs() < 1e-5 * summand.abs());
            }
        }
    }
}
