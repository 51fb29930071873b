//! Every scheduler, with its options, against diffusers (golden `vectors/schedulers2`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use host_tensor::HostTensor;
use sd_runtime::rng::RandomSource;
use sd_runtime::scheduler::{Churn, Scheduler, SchedulerConfig, SchedulerKind, WalkOptions};
use serde_json::Value;

/// Values of a sample.
const N: usize = 64;

/// Tensors that a scheduler is given when it draws, in order.
#[derive(Clone)]
struct Listed {
    noises: Arc<[f32]>,
    taken: usize,
}

impl RandomSource for Listed {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        assert_eq!(n, N, "a scheduler draws whole samples");
        let noise = &self.noises[self.taken * N..][..N];
        self.taken += 1;
        noise.iter().map(|x| f64::from(*x)).collect()
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(self.clone())
    }
}

struct Golden {
    tensors: BTreeMap<String, HostTensor>,
    start: Vec<f32>,
    image: Vec<f32>,
    noises: Vec<f32>,
}

impl Golden {
    fn of(&self, key: &str, what: &str) -> Option<Vec<f32>> {
        self.tensors.get(&format!("{key}.{what}")).map(HostTensor::to_f32_vec)
    }
}

/// The toy denoiser of the golden walks; for a learned variance twice as many values.
fn denoise(x: &[f32], t: f32, is_learned: bool) -> Vec<f32> {
    let slope = 0.9 - 0.0012 * t;
    let squashed = || x.iter().map(|x| x / (1.0 + x.abs()));
    let output = squashed().map(|s| slope * s + 0.1);
    match is_learned {
        true => output.chain(squashed().map(|s| 0.25 + 0.2 * s)).collect(),
        false => output.collect(),
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    Some(value.as_array()?.iter().map(|x| x.as_f64().unwrap()).collect())
}

fn options(case: &Value) -> WalkOptions {
    let (set, step) = (&case["set_timesteps"], &case["step"]);
    let churn = |amount: f64| Churn {
        amount,
        noise: step["s_noise"].as_f64().unwrap_or(1.0),
        sigma_min: step["s_tmin"].as_f64().unwrap_or(0.0),
        sigma_max: step["s_tmax"].as_f64().unwrap_or(f64::INFINITY),
    };
    WalkOptions {
        steps: case["steps"].as_u64().unwrap_or(0) as usize,
        start: case["begin_index"].as_u64().unwrap_or(0) as usize,
        timesteps: numbers(&set["timesteps"]),
        sigmas: numbers(&set["sigmas"]),
        mu: set["mu"].as_f64(),
        original_steps: set["original_inference_steps"].as_u64().map(|n| n as usize),
        strength: set["strength"].as_f64(),
        eta: step["eta"].as_f64(),
        use_clipped_model_output: step["use_clipped_model_output"] == true,
        churn: step["s_churn"].as_f64().map(churn),
        order: step["order"].as_u64().map(|n| n as usize),
    }
}

/// What does not agree in a run, if anything does not.
fn fault(case: &Value, key: &str, golden: &Golden) -> Option<String> {
    let mut config = case["config"].clone();
    config["_class_name"] = case["cls"].clone();
    let is_learned = case["config"]["variance_type"].as_str().is_some_and(|kind| kind.starts_with("learned"));
    let config = SchedulerConfig::from_json(&config.to_string()).unwrap();
    let mut scheduler = match config.walk(None, &options(case)) {
        Ok(scheduler) => scheduler,
        Err(error) => return Some(format!("is refused: {error}")),
    };
    let skipped = case["calls"].as_u64().map_or(0, |calls| {
        let all = golden.of(key, "timesteps").map_or(0, |all| all.len());
        all.saturating_sub(calls as usize)
    });
    let timesteps = scheduler.timesteps().to_vec();
    if let Some(want) = golden.of(key, "timesteps") {
        let want = &want[skipped..];
        // Fractional ones depend on the last bits of a logarithm, and ancestral ones half way through a long step on those
        // of a difference of nearly equal squares, which is 0.0096 in f32 where it should be 0.
        let slack = if key.starts_with("kdpm2a") { 1e-2 } else { 3e-4 };
        let agree = |(a, b): (&f32, &f32)| a == b || (a.fract() != 0.0 && (a - b).abs() <= slack + 2e-6 * a.abs());
        if want.len() != timesteps.len() || !want.iter().zip(&timesteps).all(agree) {
            return Some(format!("time steps {timesteps:?}, diffusers has {want:?}"));
        }
    }
    let mut sample = golden.start.clone();
    let begins = !case["begin_index"].is_null();
    scheduler.start(begins.then_some(&golden.image[..]), &mut sample);
    if let Some(first) = golden.of(key, "first")
        && let Some(gap) = gap(&first, &sample, 1e-5)
    {
        return Some(format!("first sample off by {gap}"));
    }
    walk(case, key, golden, scheduler.as_mut(), sample, is_learned)
}

fn walk(
    case: &Value,
    key: &str,
    golden: &Golden,
    scheduler: &mut dyn Scheduler,
    mut sample: Vec<f32>,
    is_learned: bool,
) -> Option<String> {
    let timesteps = scheduler.timesteps().to_vec();
    let tolerance = case["tol"].as_f64().unwrap_or(1e-5) as f32;
    let samples = golden.of(key, "samples");
    let at = golden.of(key, "at").unwrap_or_else(|| (0..timesteps.len()).map(|i| i as f32).collect());
    let mut source = Listed { noises: golden.noises.as_slice().into(), taken: 0 };
    for (i, &t) in timesteps.iter().enumerate() {
        let mut input = sample.clone();
        scheduler.scale_model_input(i, &mut input);
        let output = denoise(&input, t, is_learned);
        if let Err(error) = scheduler.step(i, &output, &mut sample, &mut source) {
            return Some(format!("step {i}: {error}"));
        }
        if sample.iter().any(|x| !x.is_finite()) {
            return Some(format!("step {i} is not finite"));
        }
        let stored = at.iter().position(|at| *at == i as f32);
        if let (Some(samples), Some(place)) = (&samples, stored)
            && let Some(gap) = gap(&samples[place * N..][..N], &sample, tolerance)
        {
            return Some(format!("call {i} of {} off by {gap}, tolerance {tolerance}", timesteps.len()));
        }
    }
    let draws = case["noise_draws"].as_u64();
    draws.filter(|n| *n != source.taken as u64).map(|n| format!("draws {} times, diffusers {n}", source.taken))
}

/// The largest difference by the largest value, where it is beyond the tolerance.
fn gap(want: &[f32], got: &[f32], tolerance: f32) -> Option<f32> {
    let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let gap = want.iter().zip(got).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
    (gap > tolerance).then_some(gap)
}

#[test]
fn every_class_walks_as_diffusers_with_every_option() {
    let Some(golden) = testkit::golden() else { return };
    let text = std::fs::read_to_string(golden.join("vectors/schedulers2.json")).unwrap();
    // Python writes infinities, which are no JSON.
    let text = text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
    let document: Value = serde_json::from_str(&text).unwrap();
    let tensors = testkit::load_safetensors(golden.join("vectors/schedulers2.safetensors"));
    let of = |name: &str| tensors[name].to_f32_vec();
    let golden = Golden { start: of("start"), image: of("image"), noises: of("noise"), tensors };
    let (mut n_equal, mut n_refused, mut faults) = (0, 0, Vec::new());
    let mut classes = std::collections::BTreeSet::new();
    for case in document["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let key = match case["steps"].as_u64() {
            Some(steps) => format!("{name}.{steps}"),
            None => name.to_owned(),
        };
        classes.insert(case["cls"].as_str().unwrap().to_owned());
        let fault = fault(case, &key, &golden);
        // Where diffusers fails: it finds a step by its time step, of which beta sigmas have two alike, and which is none
        // of ours; all others have no end.
        let fails = !case["diffusers_error"].is_null() && name != "dpm_pp2_beta";
        match fault {
            None if !fails => n_equal += 1,
            Some(fault) if fails && fault.starts_with("is refused: ") => n_refused += 1,
            Some(fault) => faults.push(format!("{key}: {fault}")),
            None => faults.push(format!("{key} walks, where diffusers has no end")),
        }
    }
    assert!(faults.is_empty(), "{} of {} runs:\n{}", faults.len(), n_equal + faults.len(), faults.join("\n"));
    assert_eq!((n_equal, n_refused), (941, 7));
    let known: Vec<_> = classes.iter().filter(|class| class.parse::<SchedulerKind>().is_ok()).collect();
    assert_eq!(known.len(), 23);
}
