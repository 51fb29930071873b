//! Random draws and scheduler walks against the tools they stand in for (golden `vectors/`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use host_tensor::HostTensor;
use sd_runtime::rng::{NumpyRandom, RandomSource, TorchRandom};
use sd_runtime::scheduler::SchedulerConfig;

fn load(path: &Path) -> BTreeMap<String, HostTensor> {
    testkit::load_safetensors(path)
}

fn f64s(tensor: &HostTensor) -> Vec<f64> {
    tensor.bytes().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn numpy_draws_are_bit_equal() {
    let Some(golden) = testkit::golden() else { return };
    let vectors = load(&golden.join("vectors/random.safetensors"));
    let mut seeds = 0;
    for (name, tensor) in &vectors {
        let Some(seed) = name.strip_prefix("numpy.randn.") else { continue };
        let draws = NumpyRandom::new(seed.parse().unwrap()).normals(20_001);
        let want = f64s(tensor);
        let (head, tail) = want.split_at(200);
        assert_eq!(draws[..200], *head, "seed {seed}, first draws");
        assert_eq!(draws[19_801..], *tail, "seed {seed}, draws 19 801 to 20 000");
        seeds += 1;
    }
    assert!(seeds > 0, "no seed was tried");
}

#[test]
fn latents_of_several_prompts_come_from_one_stream() {
    let Some(golden) = testkit::golden() else { return };
    for name in ["sd-demo_pndm20", "tiny-sd15_pndm5"] {
        let path = golden.join(format!("pipelines/{name}.safetensors"));
        let (run, said) = (load(&path), testkit::load_metadata(&path));
        let mut source = NumpyRandom::new(said["seed"].parse().unwrap());
        for i in 0..said["prompts"].lines().count() {
            let start = &run[&format!("{i}.start")];
            assert!(source.latents(start.len()) == start.to_f32_vec(), "{name}, prompt {i}");
        }
    }
}

#[test]
fn torch_draws_agree_to_rounding() {
    let Some(golden) = testkit::golden() else { return };
    let vectors = load(&golden.join("vectors/random.safetensors"));
    let mut cases = 0;
    for (name, tensor) in &vectors {
        let Some(rest) = name.strip_prefix("torch.randn.") else { continue };
        let (seed, n) = rest.split_once('.').unwrap();
        let draws = TorchRandom::new(seed.parse().unwrap()).normals_f32(n.parse().unwrap());
        let want = tensor.to_f32_vec();
        testkit::assert_all_close(name, &want, &draws[draws.len() - want.len()..], 1e-6, 2e-6);
        cases += 1;
    }
    assert!(cases > 0, "no case was tried");
}

/// The toy denoiser of the golden walks: 0.7·x·cos(t/500) + 0.1 in f32.
fn toy_denoiser(x: &[f32], t: f32) -> Vec<f32> {
    let scale = (t / 500.0).cos();
    x.iter().map(|x| 0.7 * x * scale + 0.1).collect()
}

#[test]
fn schedulers_walk_as_diffusers() {
    let Some(golden) = testkit::golden() else { return };
    let text = std::fs::read_to_string(golden.join("vectors/schedulers.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vectors = load(&golden.join("vectors/schedulers.safetensors"));
    let cases = document["cases"].as_array().unwrap();
    for case in cases {
        let mut config = case["config"].clone();
        config["_class_name"] = case["cls"].clone();
        let config = SchedulerConfig::from_json(&config.to_string()).unwrap();
        let name = format!("{}.{}", case["name"].as_str().unwrap(), case["steps"]);
        walk(&name, &config, case["steps"].as_u64().unwrap() as usize, &vectors);
    }
    assert_eq!(cases.len(), 114);
}

fn walk(name: &str, config: &SchedulerConfig, n: usize, vectors: &BTreeMap<String, HostTensor>) {
    let mut scheduler = config.build(None, n).unwrap();
    let timesteps = scheduler.timesteps().to_vec();
    let want_timesteps = vectors[&format!("{name}.timesteps")].to_f32_vec();
    // Time steps found from Karras sigmas are interpolated; their last bits depend on NumPy's SIMD log.
    let tolerance = if name.starts_with("euler_karras") { 2e-6 } else { 0.0 };
    testkit::assert_all_close(&format!("{name} time steps"), &want_timesteps, &timesteps, tolerance, tolerance * 100.0);
    let mut sample = TorchRandom::new(9).normals_f32(60);
    let mut source = TorchRandom::new(11);
    scheduler.start(None, &mut sample);
    let want = vectors[&format!("{name}.samples")].to_f32_vec();
    assert_eq!(want.len(), timesteps.len() * 60, "{name}");
    for (i, (&t, want)) in timesteps.iter().zip(want.chunks(60)).enumerate() {
        let mut input = sample.clone();
        scheduler.scale_model_input(i, &mut input);
        let output = toy_denoiser(&input, t);
        scheduler.step(i, &output, &mut sample, &mut source).unwrap();
        let largest = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        testkit::assert_all_close(&format!("{name} step {i}"), want, &sample, 1e-5, 1e-5 * largest);
    }
}
