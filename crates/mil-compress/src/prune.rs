//! Pruning: which values of a weight become zero.
//!
//! The rules are those of coremltools 9.0 (`prune_weights`). Of equal magnitudes in a group the first go; a weight that
//! a rule does not suit is left as it is, with the reason.

use crate::{Axes, Encoded, NonZero, Prune, layout::around};
use host_tensor::{Bytes, DType, HostTensor, pack_bits};

/// A weight with some values set to zero, and which are not.
pub(crate) struct Pruned {
    /// The weight with zeros.
    pub(crate) weight: HostTensor,
    /// Positions of the other values.
    pub(crate) places: Vec<usize>,
}

/// Prunes a weight of type `F16` or `F32`; the error says why it is better left as it is.
pub(crate) fn prune(weight: &HostTensor, how: &Prune, axes: Axes) -> Result<Pruned, String> {
    let values = weight.to_f32_vec();
    if values.iter().any(|v| !v.is_finite()) {
        return Err("some of its values are infinite or not numbers".into());
    }
    let magnitudes = || values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let stays = match *how {
        Prune::Threshold { threshold, .. } => exceed(&magnitudes(), f64::from(threshold), weight.dtype()),
        Prune::Magnitude { sparsity } => above(&magnitudes(), sparsity, weight.dtype()),
        Prune::Block { sparsity, size, axis } => {
            let norms = norms(&values, weight.shape(), size, axis_of(axis, axes), weight.dtype())?;
            above(&norms, sparsity, weight.dtype())
        }
        Prune::NOfM { n, m, axis } => n_of_m(&values, weight.shape(), n, m, axis_of(axis, axes))?,
    };
    let places: Vec<usize> = (0..values.len()).filter(|&i| stays[i] && values[i] != 0.0).collect();
    if let Prune::Threshold { minimum_sparsity, .. } = *how {
        let sparsity = 1.0 - places.len() as f64 / values.len() as f64;
        if sparsity < f64::from(minimum_sparsity) {
            return Err(format!(
                "{:.1} % of it would be zero, less than {:.1} %",
                sparsity * 100.0,
                minimum_sparsity * 100.0
            ));
        }
    }
    let mut kept = vec![0f32; values.len()];
    places.iter().for_each(|&i| kept[i] = values[i]);
    Ok(Pruned { weight: HostTensor::from_f32(weight.shape(), kept).cast(weight.dtype()), places })
}

impl Pruned {
    /// Values at the places that stay, one-dimensional.
    pub(crate) fn stored(&self, of: &HostTensor) -> HostTensor {
        let width = of.dtype().bits() / 8;
        let bytes: Vec<u8> = self.places.iter().flat_map(|&i| &of.bytes()[i * width..][..width]).copied().collect();
        HostTensor::new(of.dtype(), [self.places.len()], Bytes::from(bytes)).expect("invariant: as many as places")
    }

    /// One bit per element.
    pub(crate) fn mask(&self) -> HostTensor {
        let mut bits = vec![0u8; self.weight.len()];
        self.places.iter().for_each(|&i| bits[i] = 1);
        let packed = Bytes::from(pack_bits(&bits, 1));
        HostTensor::new(DType::U1, self.weight.shape(), packed).expect("invariant: a bit per element")
    }

    /// Stored as they are.
    pub(crate) fn plain(&self) -> Encoded {
        Encoded::Sparse { mask: self.mask(), values: NonZero::Plain(self.stored(&self.weight)) }
    }
}

const fn axis_of(axis: usize, axes: Axes) -> usize {
    if axis == 0 { axes.output } else { axes.input }
}

/// True for magnitudes above the percentile that leaves a share of `sparsity` below.
fn above(magnitudes: &[f32], sparsity: f32, dtype: DType) -> Vec<bool> {
    if sparsity <= 0.0 {
        return vec![true; magnitudes.len()];
    }
    if sparsity >= 1.0 || magnitudes.is_empty() {
        return vec![false; magnitudes.len()];
    }
    exceed(magnitudes, percentile(magnitudes, f64::from(sparsity)), dtype)
}

/// True for magnitudes above a threshold, which numpy 1.26 rounds to the weight's type before it compares.
fn exceed(magnitudes: &[f32], threshold: f64, dtype: DType) -> Vec<bool> {
    let threshold = rounded(threshold, dtype);
    magnitudes.iter().map(|&m| f64::from(m) > threshold).collect()
}

fn rounded(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => host_tensor::f16_from_f64(x).to_f64(),
        _ => f64::from(x as f32),
    }
}

/// The value at a share of the sorted values, between two of them by their distance, as numpy does.
fn percentile(values: &[f32], share: f64) -> f64 {
    let position = share * (values.len() - 1) as f64;
    let below = position.floor() as usize;
    let mut values = values.to_vec();
    let (_, &mut a, rest) = values.select_nth_unstable_by(below, f32::total_cmp);
    let b = rest.iter().copied().fold(f32::INFINITY, f32::min);
    let b = if b.is_finite() { b } else { a };
    f64::from(a) + (f64::from(b) - f64::from(a)) * (position - below as f64)
}

/// For each element the norm of its block of `size` consecutive channels, every step in the weight's type.
fn norms(values: &[f32], shape: &[usize], size: usize, axis: usize, dtype: DType) -> Result<Vec<f32>, String> {
    let (outer, channels, inner) = around(shape, axis);
    if size < 2 || size > channels / 2 {
        return Err(format!("blocks of {size} do not suit {channels} channels: from 2 to half of them would"));
    }
    let mut norms = vec![0f32; values.len()];
    for o in 0..outer {
        for first in (0..channels).step_by(size) {
            for i in 0..inner {
                let places = (first..channels.min(first + size)).map(|c| (o * channels + c) * inner + i);
                let round = |x| rounded(x, dtype);
                let add = |sum, at: usize| round(sum + round(f64::from(values[at]).powi(2)));
                let norm = round(places.clone().fold(0.0, add).sqrt());
                places.for_each(|at| norms[at] = norm as f32);
            }
        }
    }
    Ok(norms)
}

/// False for the `n` smallest of each `m` consecutive channels; missing channels count as zeros.
fn n_of_m(values: &[f32], shape: &[usize], n: usize, m: usize, axis: usize) -> Result<Vec<bool>, String> {
    let (outer, channels, inner) = around(shape, axis);
    if m == 0 || n > m || m > channels / 2 {
        return Err(format!("{n} of {m} does not suit {channels} channels: groups of up to half of them would"));
    }
    let mut stays = vec![true; values.len()];
    let mut order: Vec<(f32, usize)> = Vec::with_capacity(m);
    for o in 0..outer {
        for first in (0..channels).step_by(m) {
            for i in 0..inner {
                order.clear();
                let place = |c: usize| (o * channels + c) * inner + i;
                order.extend((first..first + m).map(|c| (if c < channels { values[place(c)].abs() } else { 0.0 }, c)));
                order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                order[..n].iter().filter(|(_, c)| *c < channels).for_each(|&(_, c)| stays[place(c)] = false);
            }
        }
    }
    Ok(stays)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes = Axes { output: 0, input: 1 };

    fn kept(values: &[f32], shape: &[usize], how: Prune) -> Result<Vec<f32>, String> {
        prune(&HostTensor::from_f32(shape, values.to_vec()), &how, AXES).map(|p| p.weight.to_f32_vec())
    }

    #[test]
    fn the_examples_of_coremltools() {
        let w = [0.3, -0.2, -0.01, 0.05];
        assert_eq!(kept(&w, &[1, 4], Prune::Magnitude { sparsity: 0.75 }).unwrap(), [0.3, 0.0, 0.0, 0.0]);
        let threshold = Prune::Threshold { threshold: 0.03, minimum_sparsity: 0.2 };
        assert_eq!(kept(&w, &[1, 4], threshold).unwrap(), [0.3, -0.2, 0.0, 0.05]);
        let encoded = prune(&HostTensor::from_f32([1, 4], w.to_vec()), &threshold, AXES).unwrap().plain();
        let Encoded::Sparse { mask, .. } = &encoded else { panic!("sparse") };
        assert_eq!(&mask.bytes()[..], [0x0B]);
        assert_eq!(encoded.decode().to_f32_vec(), [0.3, -0.2, 0.0, 0.05]);
        let too_few = Prune::Threshold { threshold: 0.03, minimum_sparsity: 0.5 };
        assert_eq!(kept(&w, &[1, 4], too_few).unwrap_err(), "25.0 % of it would be zero, less than 50.0 %");
    }

    #[test]
    fn thresholds_are_rounded_to_the_weights_type_as_numpy_does() {
        // The percentile lies halfway between two neighbouring halves, and rounds to the even one, which is the upper.
        let values = [1.000_976_6, 1.001_953_1];
        let prune_half = |dtype| {
            let weight = HostTensor::from_f32([2, 1], values.to_vec()).cast(dtype);
            prune(&weight, &Prune::Magnitude { sparsity: 0.5 }, AXES).unwrap().places
        };
        assert_eq!(prune_half(DType::F16), Vec::<usize>::new());
        assert_eq!(prune_half(DType::F32), [1]);
    }

    #[test]
    fn all_and_nothing() {
        let w = [1.0, -2.0, 3.0, 4.0];
        assert_eq!(kept(&w, &[2, 2], Prune::Magnitude { sparsity: 0.0 }).unwrap(), w);
        assert_eq!(kept(&w, &[2, 2], Prune::Magnitude { sparsity: 1.0 }).unwrap(), [0.0; 4]);
    }

    #[test]
    fn the_smallest_of_each_group_go_and_of_equals_the_first() {
        let w = [1.0, -1.0, 3.0, 2.0, 5.0, 4.0, 0.5, 0.5, 9.0];
        let how = Prune::NOfM { n: 2, m: 4, axis: 1 };
        assert_eq!(kept(&w, &[1, 9], how).unwrap(), [0., 0., 3., 2., 5., 4., 0., 0., 9.]);
        let across = Prune::NOfM { n: 1, m: 2, axis: 0 };
        assert_eq!(kept(&w[..8], &[4, 2], across).unwrap(), [0., 0., 3., 2., 5., 4., 0., 0.]);
        assert!(kept(&w, &[1, 9], Prune::NOfM { n: 1, m: 5, axis: 1 }).unwrap_err().contains("9 channels"));
    }

    #[test]
    fn weak_blocks_go_together() {
        let w = [3.0, 0.0, 0.1, 0.1, 0.0, 2.0, 0.2, 0.2];
        let how = Prune::Block { sparsity: 0.5, size: 2, axis: 1 };
        assert_eq!(kept(&w, &[1, 8], how).unwrap(), [3., 0., 0., 0., 0., 2., 0., 0.]);
        assert!(kept(&w, &[1, 8], Prune::Block { sparsity: 0.5, size: 5, axis: 1 }).is_err());
    }

    #[test]
    fn percentiles_lie_between_values() {
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.9), 3.7);
    }
}
