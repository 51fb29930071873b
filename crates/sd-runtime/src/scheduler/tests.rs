//! Facts about schedulers that need no golden data.

use super::*;
use crate::error::RuntimeError;
use crate::rng::{NumpyRandom, RandomSource};

fn config(json: serde_json::Value) -> SchedulerConfig {
    SchedulerConfig::from_json(&json.to_string()).unwrap()
}

/// Schedulers whose sample is the clean sample plus sigma times noise.
fn is_in_sigmas(kind: SchedulerKind) -> bool {
    matches!(
        kind,
        SchedulerKind::EulerDiscrete
            | SchedulerKind::HeunDiscrete
            | SchedulerKind::LmsDiscrete
            | SchedulerKind::Kdpm2Discrete
    )
}

/// Schedulers that end at the clean sample wherever their steps lie: those that draw nothing and end at sigma 0.
const EXACT: [SchedulerKind; 7] = [
    SchedulerKind::EulerDiscrete,
    SchedulerKind::HeunDiscrete,
    SchedulerKind::LmsDiscrete,
    SchedulerKind::Kdpm2Discrete,
    SchedulerKind::DpmSolverMultistep,
    SchedulerKind::DpmSolverSinglestep,
    SchedulerKind::UniPcMultistep,
];

/// Walks with a model that always knows the true noise; returns what is left of signal and noise.
fn walk_with_perfect_model(config: &SchedulerConfig, kind: SchedulerKind, n: usize) -> f32 {
    let (clean, eps) = (0.3f32, -1.7f32);
    let mut scheduler = config.build(Some(kind), n).unwrap();
    let sigma_space = is_in_sigmas(kind);
    let timesteps = scheduler.timesteps().to_vec();
    let alphas = schedule::alphas_cumprod(config);
    let training = schedule::TrainingSigmas::new(config);
    let first = f64::from(timesteps[0]);
    let mut sample = if sigma_space {
        [clean + training.at(first) as f32 * eps]
    } else {
        let alpha = alphas[first as usize];
        [alpha.sqrt() * clean + (1.0 - alpha).sqrt() * eps]
    };
    for i in 0..timesteps.len() {
        scheduler.step(i, &[eps], &mut sample, &mut NumpyRandom::new(0)).unwrap();
    }
    sample[0]
}

#[test]
fn a_perfect_model_is_followed_to_the_clean_sample() {
    let config = SchedulerConfig::stable_diffusion().with("set_alpha_to_one", true);
    for kind in EXACT.into_iter().chain([SchedulerKind::Pndm, SchedulerKind::Ddim]) {
        for spacing in [TimestepSpacing::Leading, TimestepSpacing::Linspace, TimestepSpacing::Trailing] {
            // PNDM and DDIM jump by whole ratios, so they end at ᾱ = 1 only where steps tile the schedule.
            if spacing != TimestepSpacing::Trailing && !EXACT.contains(&kind) {
                continue;
            }
            let config = SchedulerConfig { timestep_spacing: Some(spacing), ..config.clone() };
            for n in [1, 2, 4, 10, 25] {
                let end = walk_with_perfect_model(&config, kind, n);
                assert!((end - 0.3).abs() < 2e-4, "{kind} {spacing:?} {n}: {end}");
            }
        }
    }
}

#[test]
fn pndm_takes_the_second_step_twice() {
    let scheduler = SchedulerConfig::stable_diffusion().build(None, 50).unwrap();
    let steps = scheduler.timesteps();
    assert_eq!(steps.len(), 51);
    assert_eq!(steps[..4], [981.0, 961.0, 961.0, 941.0]);
    assert_eq!(steps[50], 1.0);
}

#[test]
fn pndm_with_one_step_works() {
    let mut scheduler = SchedulerConfig::stable_diffusion().build(None, 1).unwrap();
    assert_eq!(scheduler.timesteps(), [1.0]);
    let mut sample = [1.0f32];
    scheduler.step(0, &[0.5], &mut sample, &mut NumpyRandom::new(0)).unwrap();
    assert!(sample[0].is_finite());
}

#[test]
fn steps_out_of_order_are_refused() {
    for kind in SchedulerConfig::stable_diffusion().kinds() {
        let mut scheduler = SchedulerConfig::stable_diffusion().build(Some(kind), 3).unwrap();
        let n = scheduler.timesteps().len();
        assert!(matches!(
            scheduler.step(1, &[0.0], &mut [0.0], &mut NumpyRandom::new(0)),
            Err(RuntimeError::StepOrder { expected: 0, got: 1, .. })
        ));
        assert!(matches!(
            scheduler.step(0, &[0.0], &mut [0.0, 0.0], &mut NumpyRandom::new(0)),
            Err(RuntimeError::StepLength { output: 1, sample: 2 })
        ));
        for i in 0..n {
            scheduler.step(i, &[0.0], &mut [0.0], &mut NumpyRandom::new(0)).unwrap();
        }
        assert!(scheduler.step(n, &[0.0], &mut [0.0], &mut NumpyRandom::new(0)).is_err(), "{kind}");
    }
}

#[test]
fn step_counts_outside_the_schedule_are_refused() {
    let config = SchedulerConfig::stable_diffusion();
    for kind in config.kinds() {
        for n in [0, 1001, usize::MAX] {
            assert!(matches!(config.build(Some(kind), n), Err(RuntimeError::StepCount { .. })), "{kind}");
        }
    }
}

#[test]
fn an_offset_beyond_the_schedule_is_named() {
    // Leading spacing over all 1000 steps with offset 1 would ask for step 1000, which has no alpha.
    let error = SchedulerConfig::stable_diffusion().build(None, 1000).unwrap_err();
    assert!(matches!(error, RuntimeError::TimestepRange { timestep: 1000, .. }), "{error}");
}

#[test]
fn configurations_that_would_mislead_are_errors() {
    for (json, fact) in [
        (serde_json::json!({"num_train_timesteps": 0}), "num_train_timesteps 0"),
        (serde_json::json!({"num_train_timesteps": 1u64 << 60}), "num_train_timesteps"),
        (serde_json::json!({"beta_end": -1.0}), "beta_end -1"),
        (serde_json::json!({"steps_offset": 5000}), "steps_offset 5000"),
        (serde_json::json!({"trained_betas": [0.1]}), "trained_betas has 1"),
        (serde_json::json!({"sigma_max": 0.0}), "sigma_max 0"),
        (serde_json::json!({"beta_schedule": "quadratic"}), "quadratic"),
    ] {
        let error = SchedulerConfig::from_json(&json.to_string()).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
    }
}

#[test]
fn options_that_are_not_implemented_are_named() {
    for (json, fact) in [
        (serde_json::json!({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}), "sigmoid"),
        (serde_json::json!({"_class_name": "DDPMScheduler", "variance_type": "fixed_large_log"}), "fixed_large_log"),
        (serde_json::json!({"_class_name": "KDPM2DiscreteScheduler", "prediction_type": "sample"}), "sample"),
        (
            serde_json::json!({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}),
            "final_sigmas_type",
        ),
        (
            serde_json::json!({
                "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver", "solver_order": 3,
                "final_sigmas_type": "sigma_min",
            }),
            "solver_order 3",
        ),
        (serde_json::json!({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4}), "solver_order 4"),
        (serde_json::json!({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1"}), "bh1"),
        (
            serde_json::json!({"_class_name": "UniPCMultistepScheduler", "lower_order_final": false}),
            "lower_order_final",
        ),
        (
            serde_json::json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true}),
            "needs mu",
        ),
        (serde_json::json!({"_class_name": "AmusedScheduler"}), "AmusedScheduler"),
    ] {
        let error = config(json).build(None, 4).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
    }
}

#[test]
fn overriding_the_class_keeps_the_schedule_but_not_its_defaults() {
    let saved = config(serde_json::json!({
        "_class_name": "DDIMScheduler",
        "_use_default_values": ["timestep_spacing"],
        "timestep_spacing": "leading",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    }));
    let euler = saved.build(Some(SchedulerKind::EulerDiscrete), 3).unwrap();
    assert_eq!(euler.timesteps(), [999.0, 499.5, 0.0], "Euler's own default is linspace");
    let ddim = saved.build(None, 2).unwrap();
    assert_eq!(ddim.timesteps(), [500.0, 0.0]);
}

#[test]
fn latents_are_never_clipped() {
    let old = config(serde_json::json!({"_class_name": "DDIMScheduler"})).for_latents();
    let mut scheduler = old.build(None, 1).unwrap();
    assert_eq!(scheduler.timesteps(), [1.0]);
    let mut sample = [7.0f32];
    scheduler.step(0, &[0.0], &mut sample, &mut NumpyRandom::new(0)).unwrap();
    assert!(sample[0] > 6.9);
}

#[test]
fn euler_scales_its_input_to_unit_variance() {
    let config =
        SchedulerConfig { timestep_spacing: Some(TimestepSpacing::Leading), ..SchedulerConfig::stable_diffusion() };
    let scheduler = config.build(Some(SchedulerKind::EulerDiscrete), 20).unwrap();
    let mut sample = [1.0];
    scheduler.start(None, &mut sample);
    scheduler.scale_model_input(0, &mut sample);
    assert!((sample[0] - 1.0).abs() < 1e-6, "leading spacing starts at √(σ² + 1)");
}

#[test]
fn every_scheduler_of_this_folder_is_in_the_table_once() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheduler");
    let sources = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let has_entry = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).unwrap().lines().any(|line| line == "pub(super) const ENTRY: Entry = Entry {")
    };
    let n_files = sources.filter(has_entry).count();
    let of = |fact: fn(SchedulerKind) -> &'static str| {
        SchedulerKind::ALL.into_iter().map(fact).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!([SchedulerKind::ALL.len(), of(SchedulerKind::name), of(SchedulerKind::class_name)], [n_files; 3]);
    for kind in SchedulerKind::ALL {
        assert_eq!(kind.entry().kind, kind);
        // Its keys are those of its class in diffusers, which has no DPM++ 2S a.
        let has_class = kind != SchedulerKind::Dpmpp2sAncestral;
        assert_eq!(kind.entry().keys.classes.contains(&kind.class_name()), has_class, "{kind}");
        assert!(!kind.summary().is_empty() && !kind.summary().ends_with('.'), "{kind}");
    }
}

#[test]
fn every_scheduler_has_a_row_in_the_guide() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/adding-a-scheduler.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for kind in SchedulerKind::ALL {
        let row = format!("| `{}` | `{}` |", kind.name(), kind.class_name());
        assert!(guide.contains(&row), "docs/adding-a-scheduler.md has no row {row}");
    }
}

#[test]
fn names_parse_back() {
    for kind in SchedulerKind::ALL {
        assert_eq!(kind.name().parse::<SchedulerKind>().unwrap(), kind);
        assert_eq!(kind.class_name().parse::<SchedulerKind>().unwrap(), kind);
    }
    assert_eq!("dpmpp".parse::<SchedulerKind>().unwrap().name(), "dpmpp-2m");
    assert_eq!("plms".parse::<SchedulerKind>().unwrap(), SchedulerKind::Pndm);
    assert!("AmusedScheduler".parse::<SchedulerKind>().is_err());
}

#[test]
fn a_walk_from_a_picture_is_diffusers_walk() {
    let config = config(serde_json::json!({
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "steps_offset": 1, "clip_sample": false, "set_alpha_to_one": false,
    }));
    let clean = [0.3f32, -1.2, 0.0];
    // Step count, steps left out, first time step; the sample with noise, and at the end; diffusers 0.42.1.
    for (kind, n, start, t, noisy, end) in [
        (SchedulerKind::Ddim, 10, 4, 501.0, [-1.2901781, -0.288696, 0.766323], [-1.6943058, -0.6602452, 0.4290937]),
        (SchedulerKind::Ddim, 20, 13, 301.0, [-0.859895, -0.6643203, 0.5771109], [-0.8819739, -0.7058566, 0.4120667]),
        (SchedulerKind::Ddim, 25, 0, 961.0, [-1.6681993, 0.2961414, 0.8967173], [-7.2113104, -2.1955862, -0.6620806]),
        (
            SchedulerKind::EulerDiscrete,
            10,
            4,
            555.0,
            [-3.0152762, -0.419935, 1.7551461],
            [-1.9667364, -0.6810206, 0.396501],
        ),
        (
            SchedulerKind::EulerDiscrete,
            25,
            0,
            999.0,
            [-24.544_9, 4.645_859, 13.153182],
            [-8.308_06, -2.6563907, -1.0092745],
        ),
        (
            SchedulerKind::DpmSolverMultistep,
            10,
            4,
            599.0,
            [-1.4357944, -0.116398, 0.8240028],
            [-2.0951455, -0.6068524, 0.4539297],
        ),
        (
            SchedulerKind::DpmSolverMultistep,
            20,
            13,
            350.0,
            [-0.9807544, -0.5730129, 0.6322542],
            [-1.010131, -0.6415781, 0.4478499],
        ),
    ] {
        // The other classes' own spacing, as if each had been saved by itself.
        let config = SchedulerConfig {
            timestep_spacing: (kind == SchedulerKind::Ddim).then_some(TimestepSpacing::Leading),
            ..config.clone()
        };
        let mut scheduler = config.build_from(Some(kind), n, start).unwrap();
        assert_eq!((scheduler.timesteps().len(), scheduler.timesteps()[0]), (n - start, t), "{kind}");
        let mut sample = [-1.7f32, 0.4, 0.9];
        scheduler.start(Some(&clean), &mut sample);
        testkit::assert_all_close(kind.name(), &noisy, &sample, 1e-5, 1e-5);
        for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
            let mut input = sample;
            scheduler.scale_model_input(i, &mut input);
            scheduler.step(i, &input.map(|x| x * 0.5 + t / 1000.0), &mut sample, &mut NumpyRandom::new(0)).unwrap();
        }
        testkit::assert_all_close(kind.name(), &end, &sample, 1e-4, 1e-4);
    }
}

#[test]
fn a_perfect_model_leads_from_a_noisy_picture_to_the_picture() {
    let (clean, eps) = ([0.3f32], [-1.7f32]);
    let config = SchedulerConfig::stable_diffusion().with("set_alpha_to_one", true);
    let config = SchedulerConfig { timestep_spacing: Some(TimestepSpacing::Trailing), ..config };
    // As in diffusers PNDM's rest of a walk takes its second call for a repeated one, and LMS's the coefficients of a whole
    // one.
    for kind in EXACT.into_iter().filter(|kind| *kind != SchedulerKind::LmsDiscrete).chain([SchedulerKind::Ddim]) {
        for start in [0, 1, 7, 9] {
            let mut scheduler = config.build_from(Some(kind), 10, start).unwrap();
            let mut sample = eps;
            scheduler.start(Some(&clean), &mut sample);
            for i in 0..scheduler.timesteps().len() {
                scheduler.step(i, &eps, &mut sample, &mut NumpyRandom::new(0)).unwrap();
            }
            assert!((sample[0] - 0.3).abs() < 2e-4, "{kind} from {start}: {}", sample[0]);
        }
        assert!(config.build_from(Some(kind), 10, 10).is_err());
    }
}

/// A model whose output depends on sample and time.
fn toy(x: f32, t: f32) -> f32 {
    0.6 * x * (t / 700.0).cos() + 0.05
}

#[test]
fn dpmpp_2s_a_is_k_diffusions() {
    let config = SchedulerConfig::stable_diffusion();
    let mut scheduler = config.build(Some(SchedulerKind::Dpmpp2sAncestral), 6).unwrap();
    let plain = config.build(Some(SchedulerKind::EulerDiscrete), 6).unwrap();
    let training = schedule::TrainingSigmas::new(&config);
    // k-diffusion's loop, written out: sigmas of the same steps, and 0.
    let mut sigmas: Vec<f64> = plain.timesteps().iter().map(|t| training.at(f64::from(*t))).collect();
    sigmas.push(0.0);
    let denoised = |x: f64, sigma: f64| {
        let scaled = x / (sigma * sigma + 1.0).sqrt();
        x - sigma * f64::from(toy(scaled as f32, training.timestep_of(sigma) as f32))
    };
    let mut x = 14.0f64;
    let mut source = NumpyRandom::new(5);
    for pair in sigmas.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let up = to.min((to.powi(2) * (from.powi(2) - to.powi(2)) / from.powi(2)).sqrt());
        let down = (to.powi(2) - up.powi(2)).sqrt();
        let d0 = denoised(x, from);
        if down == 0.0 {
            x += (x - d0) / from * (down - from);
        } else {
            let (t, t_next) = (-from.ln(), -down.ln());
            let h = t_next - t;
            let s = t + 0.5 * h;
            let x2 = (-s).exp() / (-t).exp() * x - (-h * 0.5).exp_m1() * d0;
            x = (-t_next).exp() / (-t).exp() * x - (-h).exp_m1() * denoised(x2, (-s).exp());
        }
        if to > 0.0 {
            x += f64::from(source.normals_f32(1)[0]) * up;
        }
    }
    let mut sample = [14.0f32];
    let mut source = NumpyRandom::new(5);
    for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
        let mut input = sample;
        scheduler.scale_model_input(i, &mut input);
        scheduler.step(i, &[toy(input[0], t)], &mut sample, &mut source).unwrap();
    }
    assert_eq!(scheduler.timesteps().len(), 11);
    assert!((f64::from(sample[0]) - x).abs() < 2e-4, "{} {x}", sample[0]);
}

#[test]
fn options_that_a_scheduler_has_no_use_for_are_refused() {
    let config = SchedulerConfig::stable_diffusion();
    let check = |kind, options: WalkOptions, fact: &str| {
        let error = config.walk(Some(kind), &options).unwrap_err().to_string();
        assert!(error.contains(fact), "{error}");
    };
    let steps = || WalkOptions::steps(5);
    check(SchedulerKind::EulerDiscrete, WalkOptions { eta: Some(0.5), ..steps() }, "euler takes no eta");
    check(SchedulerKind::Ddim, WalkOptions { timesteps: Some(vec![9.0]), ..steps() }, "ddim takes no timesteps");
    check(SchedulerKind::Ddim, WalkOptions { eta: Some(1.5), ..steps() }, "eta 1.5");
    check(SchedulerKind::Ddpm, WalkOptions { timesteps: Some(vec![5.0, 9.0]), ..steps() }, "9 follows 5");
    check(SchedulerKind::Ddpm, WalkOptions { timesteps: Some(vec![1000.0]), ..steps() }, "time step 1000");
    check(SchedulerKind::EulerDiscrete, WalkOptions { sigmas: Some(vec![3.0]), ..steps() }, "two at least");
    check(SchedulerKind::Lcm, WalkOptions { steps: 51, ..steps() }, "between 1 and 50");
    check(SchedulerKind::UniPcMultistep, WalkOptions { sigmas: Some(vec![0.9]), ..steps() }, "use_flow_sigmas");
}

#[test]
fn noise_of_a_call_is_that_of_its_first_sample() {
    let config = SchedulerConfig::stable_diffusion();
    for kind in config.kinds() {
        let scheduler = config.build(Some(kind), 5).unwrap();
        let (clean, noise) = ([0.5f32, -2.0], [1.5f32, 0.25]);
        let (mut started, mut added, mut after) = (noise, noise, noise);
        scheduler.start(Some(&clean), &mut started);
        scheduler.add_noise(0, &clean, &mut added);
        assert_eq!(started, added, "{kind}");
        scheduler.add_noise(scheduler.timesteps().len(), &clean, &mut after);
        assert_eq!(after, clean, "{kind}: beyond the last call nothing is added");
    }
}
