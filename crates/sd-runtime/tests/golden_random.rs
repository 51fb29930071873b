//! Random draws against NumPy, PyTorch and CUDA's rule (golden `vectors/random2`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use host_tensor::{DType, HostTensor, bf16, f16};
use sd_runtime::rng::{NumpyGenerator, NumpyRandom, NvidiaRandom, RandomSource, TorchRandom, TorchType};
use serde_json::Value;

struct Golden {
    cases: Value,
    tensors: BTreeMap<String, HostTensor>,
}

impl Golden {
    fn read() -> Option<Self> {
        let folder = testkit::golden()?.join("vectors");
        let text = std::fs::read_to_string(folder.join("random2.json")).unwrap();
        let tensors = testkit::load_safetensors(folder.join("random2.safetensors"));
        Some(Self { cases: serde_json::from_str(&text).unwrap(), tensors })
    }

    fn cases(&self, tool: &str) -> &[Value] {
        self.cases[tool].as_array().unwrap()
    }

    /// Compares a draw with what a tool drew: the values that are stored, and the sums of all.
    #[track_caller]
    fn check(&self, stored: &Value, drawn: &[f64], tolerance: impl Fn(f64) -> f64) {
        let key = stored["key"].as_str().unwrap();
        let want = f64s(&self.tensors[key]);
        let ends = stored["stored"].as_str().unwrap() != "all";
        let half = want.len() / 2;
        let got: Vec<f64> = match ends {
            true => [&drawn[..half], &drawn[drawn.len() - half..]].concat(),
            false => drawn.to_vec(),
        };
        assert_eq!(got.len(), want.len(), "{key}");
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!((got - want).abs() <= tolerance(*want), "{key}, value {i}: {got} is not {want}");
        }
        for (name, power) in [("sum_f64", 1), ("sum_sq_f64", 2)] {
            let Some(want) = stored[name].as_f64() else { continue };
            let sum: f64 = drawn.iter().map(|x| x.powi(power)).sum();
            let all: f64 = drawn.iter().map(|x| tolerance(*x) * x.abs().max(1.0) * 2.0).sum();
            assert!((sum - want).abs() <= all.max(1e-9), "{key}, {name}: {sum} is not {want}");
        }
    }
}

fn f64s(tensor: &HostTensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::F64 => tensor.bytes().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        _ => tensor.to_f32_vec().into_iter().map(f64::from).collect(),
    }
}

fn elements(shape: &Value) -> usize {
    shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).product()
}

/// Seeds are numbers, or text where they are large; negative ones are those of two's complement.
fn seed(value: &Value) -> i128 {
    value.as_i64().map_or_else(|| value.as_str().unwrap().parse().unwrap(), i128::from)
}

/// The draws of a case: one, or several from one stream.
fn draws(case: &Value) -> Vec<(&Value, usize)> {
    match case["calls"].as_array() {
        Some(calls) => {
            let shapes = case["sequence"].as_array().unwrap();
            let size = |shape: &Value| shape.as_u64().map_or_else(|| elements(shape), |n| n as usize);
            assert_eq!(calls.len(), shapes.len());
            calls.iter().zip(shapes.iter().map(size)).collect()
        }
        None => vec![(case, elements(&case["shape"]))],
    }
}

/// The distance to the next value of a type with this many bits of fraction.
fn ulp(x: f64, n_bits: i32, least: f64) -> f64 {
    (2f64.powi(x.abs().log2().floor() as i32 - n_bits)).max(least)
}

#[test]
fn torch_draws_on_a_cpu() {
    let Some(golden) = Golden::read() else { return };
    let mut n_draws = 0;
    for case in golden.cases("torch_cpu") {
        if let Some(seeds) = case["seeds"].as_array() {
            let each = elements(&case["shape"]) / seeds.len();
            let list = seeds.iter().flat_map(|s| TorchRandom::new(seed(s) as u64).normals(each));
            golden.check(case, &list.collect::<Vec<_>>(), |_| 2e-6);
            continue;
        }
        let (dtype, tolerance): (_, fn(f64) -> f64) = match case["dtype"].as_str().unwrap() {
            "f32" => (TorchType::F32, |_| 2e-6),
            "f64" => (TorchType::F64, |_| 1e-12),
            "f16" => (TorchType::F16, |x| ulp(x, 10, f16::MIN_POSITIVE_SUBNORMAL.to_f64())),
            _ => (TorchType::Bf16, |x| ulp(x, 7, bf16::MIN_POSITIVE.to_f64())),
        };
        let mut source = TorchRandom::of_type(seed(&case["seed"]) as u64, dtype);
        for (stored, n) in draws(case) {
            golden.check(stored, &source.normals(n), tolerance);
            n_draws += 1;
        }
    }
    assert!(n_draws >= 140, "{n_draws}");
}

#[test]
fn numpy_draws_by_its_legacy_source() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("numpy_legacy") {
        let mut source = match case["seed"].as_array() {
            None => NumpyRandom::new(seed(&case["seed"]) as u32),
            Some(words) => NumpyRandom::from_words(&words.iter().map(|w| seed(w) as u32).collect::<Vec<_>>()),
        };
        if case["raw"].is_string() {
            golden.check(case, &source.uniforms(8), |_| 0.0);
        } else if case["seed"].is_array() {
            let n = golden.tensors[case["key"].as_str().unwrap()].len();
            golden.check(case, &source.normals(n), |_| 0.0);
        } else {
            for (stored, n) in draws(case) {
                golden.check(stored, &source.normals(n), |_| 0.0);
            }
        }
    }
}

#[test]
fn numpy_draws_by_its_generator() {
    let Some(golden) = Golden::read() else { return };
    for case in golden.cases("numpy_pcg64") {
        let new = || NumpyGenerator::new(seed(&case["seed"]) as u128);
        let size = |stored: &Value| golden.tensors[stored["key"].as_str().unwrap()].len();
        let words: Vec<u64> = case["raw_u64"].as_array().unwrap().iter().map(|w| seed(w) as u64).collect();
        assert_eq!(new().raw(words.len()), words);
        golden.check(&case["normal"], &new().normals(size(&case["normal"])), |_| 0.0);
        let many = new().normals(20_000);
        golden.check(&case["normal_20000"], &many, |_| 0.0);
        for tail in case["tail_positions_in_20000"].as_array().unwrap() {
            // serde_json reads decimal fractions to the last bit but one.
            let (got, want) = (many[tail[0].as_u64().unwrap() as usize], tail[1].as_f64().unwrap());
            assert!((got - want).abs() <= 1e-15, "{got} is not {want}");
        }
        let single = new().single_normals(size(&case["normal_f32"]));
        golden.check(&case["normal_f32"], &single.into_iter().map(f64::from).collect::<Vec<_>>(), |_| 0.0);
        golden.check(&case["uniform"], &new().uniforms(size(&case["uniform"])), |_| 0.0);
        let mut source = new();
        let keys = case["sequence"]["keys"].as_array().unwrap();
        for (stored, n) in keys.iter().zip(case["sequence"]["shapes"].as_array().unwrap()) {
            golden.check(stored, &source.normals(n.as_u64().unwrap() as usize), |_| 0.0);
        }
    }
}

#[test]
fn pytorch_draws_on_a_gpu() {
    let Some(golden) = Golden::read() else { return };
    let mut n_draws = 0;
    // What the words of the counter are is a unit test of the source.
    for case in golden.cases("cuda_philox").iter().filter(|case| case["sequence"].is_array()) {
        let mut source = NvidiaRandom::new(seed(&case["seed"]) as u64);
        for (stored, n) in draws(case) {
            // Equal but for the last bit of f32.
            golden.check(stored, &source.normals(n), |x| ulp(x, 23, 1e-9));
            n_draws += 1;
        }
    }
    assert!(n_draws >= 24, "{n_draws}");
}
