//! Against coremltools, and gradients against differences.

use serde_json::Value;
use testkit::Rng;

use super::*;

/// What a weight becomes, and the gradient of its sum weighed by `by_output`.
fn run(values: Values<'_>, palette: &[f32], how: (f32, usize), by_output: &[f32]) -> (Vec<f32>, Refined, Backward) {
    let (temperature, n_iterations) = how;
    let refined = refine(values, palette, temperature, n_iterations);
    let mut soft = Vec::new();
    assign(values.values, &refined, temperature, &mut soft);
    let back = backward(values, palette, temperature, n_iterations, by_output);
    (soft, refined, back)
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < tolerance, "{what} {at}: {found}, expected {expected}");
    }
}

/// One layer of 128 weights, three iterations at temperature 0.05, by the DKM palettizer of coremltools 9.0 with PyTorch
/// 2.9.0 (`xtask/src/oracle/dkm.py`). The start is not a gradient's leaf there, so that by it is not compared.
#[test]
fn a_layer_becomes_what_coremltools_makes_of_it() {
    let golden: Value = serde_json::from_str(include_str!("coremltools.json")).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        golden[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    let (weight, by_output) = (numbers("weight"), numbers("by_output"));
    let values = Values { values: &weight, counts: &[] };
    let (soft, refined, back) = run(values, &numbers("start"), (0.05, 3), &by_output);
    close("entry", &refined.entries, &numbers("entries"), 1e-5);
    close("value", &soft, &numbers("soft"), 1e-5);
    let gradient: Vec<f32> = by_output
        .iter()
        .zip(back.slopes.iter().zip(&back.shifts))
        .map(|(g, (slope, shift))| g * slope + shift)
        .collect();
    close("gradient", &gradient, &numbers("gradient"), 1e-4);
}

/// `Σ n·g·ũ` in double precision.
fn weighed(values: Values<'_>, palette: &[f64], own: (usize, f64), how: (f64, usize), by_output: &[f32]) -> f64 {
    let moved = |idx: usize| f64::from(values.values[idx]) + if idx == own.0 { own.1 } else { 0.0 };
    let attention = |u: f64, palette: &[f64]| -> Vec<f64> {
        let weights: Vec<f64> = palette.iter().map(|c| (-(u - c).powi(2) / how.0).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / sum).collect()
    };
    let (mut attended, mut entries) = (palette.to_vec(), palette.to_vec());
    for _ in 0..how.1 {
        let (mut shares, mut sums) = (vec![0.0; entries.len()], vec![0.0; entries.len()]);
        for idx in 0..values.values.len() {
            for (k, a) in attention(moved(idx), &entries).into_iter().enumerate() {
                shares[k] += f64::from(values.count(idx)) * a;
                sums[k] += f64::from(values.count(idx)) * a * moved(idx);
            }
        }
        let means: Vec<f64> = sums.iter().zip(&shares).map(|(sum, share)| sum / share).collect();
        attended = std::mem::replace(&mut entries, means);
    }
    let soft = |idx: usize| -> f64 { attention(moved(idx), &attended).iter().zip(&entries).map(|(a, c)| a * c).sum() };
    (0..values.values.len()).map(|idx| f64::from(by_output[idx]) * soft(idx)).sum()
}

#[test]
fn gradients_are_the_limits_of_differences() {
    let mut rng = Rng::new(5);
    let (elements, by_output) = (rng.normals(37), rng.normals(37));
    let counts: Vec<f32> = (0..37).map(|idx| (1 + idx % 3) as f32).collect();
    let values = Values { values: &elements, counts: &counts };
    let palette = [-1.1f32, -0.3, 0.4, 1.3];
    let wide: Vec<f64> = palette.iter().map(|&c| f64::from(c)).collect();
    for n_iterations in [0, 1, 2, 4] {
        let back = backward(values, &palette, 0.3, n_iterations, &by_output);
        let at = |palette: &[f64], own: (usize, f64)| weighed(values, palette, own, (0.3, n_iterations), &by_output);
        let step = 1e-5;
        for (k, found) in back.entries.iter().enumerate() {
            let moved = |by: f64| {
                let mut palette = wide.clone();
                palette[k] += by;
                at(&palette, (0, 0.0))
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((f64::from(*found) - expected).abs() < 2e-4, "{n_iterations}: entry {k}: {found}, not {expected}");
        }
        for (idx, slope) in back.slopes.iter().enumerate() {
            // All elements of the value move together.
            let shift = back.shifts.get(idx).copied().unwrap_or(0.0) * counts[idx];
            let found = f64::from(by_output[idx] * slope + shift);
            let expected = (at(&wide, (idx, step)) - at(&wide, (idx, -step))) / (2.0 * step);
            assert!((found - expected).abs() < 2e-4, "{n_iterations}: value {idx}: {found}, not {expected}");
        }
    }
}

#[test]
fn a_low_temperature_gives_each_value_the_nearest_entry() {
    let palette = Refined { attended: vec![-1.0, 0.0, 2.0], entries: vec![-1.0, 0.0, 2.0] };
    let mut soft = Vec::new();
    assign(&[-7.0, -0.51, -0.49, 0.99, 1.01, 100.0], &palette, 1e-4, &mut soft);
    assert_eq!(soft, [-1.0, -1.0, 0.0, 0.0, 2.0, 2.0]);
}

#[test]
fn an_entry_that_nothing_attends_to_stays() {
    let values = [0.0f32, 0.1, 0.2];
    let refined = refine(Values { values: &values, counts: &[] }, &[0.1, 50.0], 0.01, 3);
    assert_eq!(refined.entries[1], 50.0);
    assert!((refined.entries[0] - 0.1).abs() < 1e-6);
}
