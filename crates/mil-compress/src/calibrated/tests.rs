//! Problems that are small enough to be checked by the definitions.

use super::{damped_factor, encode_with};
use crate::{Axes, Blocks, Encoded, Named, PaletteGroups, Quantize, Scheme, Statistics, encode};
use host_tensor::{DType, HostTensor};
use testkit::Rng;

const AXES: Axes = Axes { output: 0, input: 1 };

/// Numbers from −1 to 1.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    Rng::new(seed).uniforms(n, -1.0, 1.0)
}

/// Inputs whose columns hang together: sums of a few directions, and a little of their own.
fn inputs(m: usize, n: usize, seed: u64) -> Vec<f32> {
    const DIRECTIONS: usize = 5;
    let (mix, own) = (numbers(DIRECTIONS * n, seed + 1), numbers(m * n, seed + 2));
    let strength = numbers(m * DIRECTIONS, seed + 3);
    let one = |i: usize| {
        let (row, column) = (i / n, i % n);
        (0..DIRECTIONS).map(|d| strength[row * DIRECTIONS + d] * mix[d * n + column]).sum::<f32>() + 0.1 * own[i]
    };
    (0..m * n).map(one).collect()
}

fn weight(shape: &[usize], seed: u64) -> HostTensor {
    HostTensor::from_f32(shape, numbers(shape.iter().product(), seed)).cast(DType::F16)
}

/// The squared change of the outputs, by the definition.
fn output_error(old: &[f32], new: &[f32], inputs: &[f32], n: usize) -> f64 {
    let mut total = 0.0;
    for (old, new) in old.chunks(n).zip(new.chunks(n)) {
        for x in inputs.chunks(n) {
            let change: f64 = (0..n).map(|i| f64::from(new[i] - old[i]) * f64::from(x[i])).sum();
            total += change * change;
        }
    }
    total
}

fn statistics(n: usize, groups: &[&[f32]]) -> Statistics {
    let mut statistics = Statistics::new(n, groups.len());
    groups.iter().enumerate().for_each(|(group, inputs)| statistics.add(group, inputs));
    statistics
}

#[test]
fn the_factor_times_itself_is_the_matrix_with_its_damped_diagonal() {
    for n in [1, 7, 96, 97, 250, 700] {
        let x = inputs(2 * n, n, n as u64);
        let s = statistics(n, &[&x]);
        let moments = &s.groups()[0].0;
        let v = damped_factor(moments, n).unwrap();
        let mean = (0..n).map(|i| moments[i * n + i]).sum::<f32>() / n as f32;
        for (i, j) in (0..n).flat_map(|i| [(i, i), (i, n - 1), (i, (i * 7 + 3) % n)]) {
            let found: f64 = (0..n).map(|k| f64::from(v[i * n + k]) * f64::from(v[j * n + k])).sum();
            let expected = moments[i * n + j] + if i == j { 0.01 * mean } else { 0.0 };
            assert!((found as f32 - expected).abs() < 1e-3 * mean, "{n}: {i} {j} {found} {expected}");
            assert!(i <= j || v[i * n + j] == 0.0);
        }
    }
}

#[test]
fn outputs_change_less_than_without_statistics_whatever_the_encoding() {
    let (rows, n) = (24, 160);
    for (seed, name) in ["2", "4", "4g8", "8", "int8", "int4", "int4b32", "4s", "3"].into_iter().enumerate() {
        let named: Named = name.parse().unwrap();
        for dtype in [DType::F16, DType::F32] {
            let weight = weight(&[rows, n], seed as u64 + 10).cast(dtype);
            let x = inputs(400, n, seed as u64);
            let plain = encode(&weight, &named.scheme(), AXES, false).unwrap().0;
            let made = encode_with(&weight, &named.scheme(), AXES, &statistics(n, &[&x]), false).unwrap();
            let old = weight.to_f32_vec();
            let before = output_error(&old, &plain.decode().to_f32_vec(), &x, n);
            let after = output_error(&old, &made.encoded.decode().to_f32_vec(), &x, n);
            assert!(made.is_calibrated && after < 0.6 * before, "{name} {dtype:?}: {after} {before}");
        }
    }
}

#[test]
fn inputs_that_do_not_hang_together_change_nothing() {
    // Each input has one element: the moments are diagonal, and no column can make up for another.
    let (rows, n) = (16, 40);
    let x: Vec<f32> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 + (i % 3) as f32 } else { 0.0 }).collect();
    for name in ["3", "int4"] {
        let (weight, named) = (weight(&[rows, n], 3), name.parse::<Named>().unwrap());
        let plain = encode(&weight, &named.scheme(), AXES, false).unwrap().0;
        let made = encode_with(&weight, &named.scheme(), AXES, &statistics(n, &[&x]), true).unwrap();
        assert_eq!(made.encoded.decode().bytes(), plain.decode().bytes(), "{name}");
        assert!(!made.is_calibrated);
    }
    // Inputs that are all zero say nothing.
    let made = encode_with(&weight(&[rows, n], 3), &Scheme::palettes(3), AXES, &Statistics::new(n, 1), false);
    assert!(!made.unwrap().is_calibrated);
}

#[test]
fn every_problem_is_at_least_as_good_as_without() {
    for seed in 0..60u64 {
        let (rows, n) = (1 + (seed as usize * 5) % 9, 2 + (seed as usize * 13) % 31);
        let (x, weight) = (inputs(n / 2 + 1, n, seed), weight(&[rows, n], seed));
        let bits = [1, 2, 3, 4][seed as usize % 4];
        let s = statistics(n, &[&x]);
        let plain = encode(&weight, &Scheme::palettes(bits), AXES, false).unwrap().0.decode().to_f32_vec();
        let made = encode_with(&weight, &Scheme::palettes(bits), AXES, &s, false).unwrap().encoded.decode();
        let old = weight.to_f32_vec();
        // As the statistics see it: with their damped diagonal.
        let mean = (0..n).map(|i| f64::from(s.groups()[0].0[i * n + i])).sum::<f64>() / n as f64;
        let damped = |new: &[f32]| {
            let own: f64 = old.iter().zip(new).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            output_error(&old, new, &x, n) + 0.01 * mean * own
        };
        let (after, before) = (damped(&made.to_f32_vec()), damped(&plain));
        assert!(after <= before * (1.0 + 1e-4) + 1e-9, "{seed}: {after} {before}");
    }
}

#[test]
fn groups_of_a_convolution_have_moments_of_their_own() {
    let (n, group_rows) = (2 * 9, 6);
    let weight = weight(&[2 * group_rows, 2, 3, 3], 5);
    let (a, b) = (inputs(80, n, 1), inputs(80, n, 50));
    let made = encode_with(&weight, &Scheme::palettes(3), AXES, &statistics(n, &[&a, &b]), false).unwrap();
    let (old, new) = (weight.to_f32_vec(), made.encoded.decode().to_f32_vec());
    let half = group_rows * n;
    // The second half follows the second group: alone, with its own statistics, it gets the same codes.
    let plain = encode(&weight, &Scheme::palettes(3), AXES, false).unwrap().0.decode().to_f32_vec();
    for (range, x) in [(0..half, &a), (half..2 * half, &b)] {
        let error = |new: &[f32]| output_error(&old[range.clone()], &new[range.clone()], x, n);
        assert!(error(&new) < 0.7 * error(&plain));
    }
}

#[test]
fn matrices_with_their_outputs_last_are_turned_there_and_back() {
    let (rows, n) = (12, 64);
    let (x, straight) = (inputs(100, n, 9), weight(&[rows, n], 9));
    let values = straight.to_f32_vec();
    let turned: Vec<f32> = (0..rows * n).map(|i| values[i % rows * n + i / rows]).collect();
    let turned = HostTensor::from_f32([n, rows], turned).cast(DType::F16);
    let groups = PaletteGroups::PerGroupedChannel { group_size: 4, axis: None };
    let Scheme::Palettize(how) = Scheme::palettes(2) else { unreachable!() };
    let linear = Quantize { dtype: DType::I4, symmetric: true, blocks: Blocks::PerBlock { size: 16 } };
    for scheme in [Scheme::Palettize(crate::Palettize { groups, ..how }), Scheme::Quantize(linear)] {
        let s = statistics(n, &[&x]);
        let one = encode_with(&straight, &scheme, AXES, &s, false).unwrap().encoded.decode().to_f32_vec();
        let axes = Axes { output: 1, input: 0 };
        let other = encode_with(&turned, &scheme, axes, &s, false).unwrap().encoded.decode().to_f32_vec();
        assert!((0..rows * n).all(|i| other[i] == one[i % rows * n + i / rows]), "{scheme:?}");
    }
}

#[test]
fn statistics_of_another_weight_are_refused_and_vectors_are_encoded_plainly() {
    let weight = weight(&[8, 32], 1);
    let error = encode_with(&weight, &Scheme::palettes(2), AXES, &Statistics::new(31, 1), false).unwrap_err();
    assert_eq!(error, "statistics are of 1 groups with 31 columns, and it has 8 rows of 32");
    let Scheme::Palettize(how) = Scheme::palettes(2) else { unreachable!() };
    let vectors = Scheme::Palettize(crate::Palettize { cluster_dim: 2, ..how });
    let x = inputs(50, 32, 1);
    let made = encode_with(&weight, &vectors, AXES, &statistics(32, &[&x]), false).unwrap();
    assert!(!made.is_calibrated && matches!(made.encoded, Encoded::Lut(_)));
}
