//! Facts about what a scheduler takes over from a file.

use super::*;
use crate::rng::NumpyRandom;

fn config(json: serde_json::Value) -> SchedulerConfig {
    SchedulerConfig::from_json(&json.to_string()).unwrap()
}

#[track_caller]
fn check_refused(json: serde_json::Value, kind: Option<SchedulerKind>, facts: &[&str]) {
    let built = SchedulerConfig::from_json(&json.to_string()).and_then(|config| config.build(kind, 4).map(drop));
    let error = built.unwrap_err().to_string();
    assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
}

#[test]
fn a_class_that_is_not_implemented_is_named_with_what_to_choose() {
    let names = "pndm, dpmpp-2m, ddim, euler";
    for (class, near) in [
        ("DPMSolverMultistepInverseScheduler", "dpmpp-2m is the nearest"),
        ("DDPMParallelScheduler", "ddpm is the nearest"),
        ("MyScheduler", "choose"),
    ] {
        check_refused(serde_json::json!({"_class_name": class}), None, &[class, near, names]);
    }
    check_refused(serde_json::json!({}), None, &["no _class_name", names]);
    check_refused(serde_json::json!({"_class_name": "AmusedScheduler"}), None, &["AmusedScheduler", "neither"]);
}

#[test]
fn models_draw_only_with_schedulers_of_their_kind_of_noise() {
    let flow = serde_json::json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0});
    let names = "flow-euler, flow-heun or flow-lcm";
    check_refused(
        flow.clone(),
        Some(SchedulerKind::EulerDiscrete),
        &["FlowMatchEulerDiscreteScheduler", "betas", names],
    );
    let betas = serde_json::json!({"_class_name": "DDIMScheduler"});
    check_refused(
        betas.clone(),
        Some(SchedulerKind::FlowMatchHeunDiscrete),
        &["DDIMScheduler", "flow matching", "euler-a"],
    );
    check_refused(betas, Some(SchedulerKind::EdmEuler), &["EDM", "pndm"]);
    // Solvers for betas follow flow matching's sigmas with the same shift.
    let solver = config(flow).build(Some(SchedulerKind::DpmSolverMultistep), 5).unwrap();
    let own = config(serde_json::json!({
        "_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": true, "flow_shift": 3.0,
        "prediction_type": "flow_prediction",
    }));
    assert_eq!(format!("{solver:?}"), format!("{:?}", own.build(None, 5).unwrap()));
    let back = own.build(Some(SchedulerKind::FlowMatchEulerDiscrete), 5).unwrap();
    let plain = config(serde_json::json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}));
    assert_eq!(back.timesteps(), plain.build(None, 5).unwrap().timesteps());
}

#[test]
fn every_refused_value_of_the_tables_is_refused() {
    for kind in SchedulerKind::ALL {
        for (key, answer) in kind.entry().keys.keys() {
            let sd_spec::keys::Answer::Only(_) = answer else { continue };
            let file = serde_json::json!({"_class_name": kind.class_name(), key: "nonsense"});
            check_refused(file, None, &[key, "nonsense"]);
        }
    }
}

#[track_caller]
fn check_warnings(json: serde_json::Value, kind: Option<SchedulerKind>, wanted: &[&str]) {
    let config = config(json);
    let config = kind.map_or_else(|| Ok(config.clone()), |kind| config.asked_for(kind)).unwrap();
    config.build(None, 4).unwrap();
    let warnings: Vec<&str> = config.warnings.iter().map(|warning| warning.reason.as_str()).collect();
    assert_eq!(warnings, wanted);
}

#[test]
fn keys_of_other_classes_have_no_effect_and_those_of_none_are_named() {
    let others = serde_json::json!({
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.42.1", "skip_prk_steps": true, "clip_sample": false,
        "use_karras_sigmas": true, "algorithm_type": "sde-dpmsolver++", "solver_order": 7, "timestep_type": "continuous",
        "rescale_betas_zero_snr": true, "shift": 3.0, "predict_x0": true,
    });
    check_warnings(others.clone(), None, &[]);
    let plain = config(serde_json::json!({"_class_name": "PNDMScheduler", "skip_prk_steps": true}));
    let (mut with, mut without) = (config(others).build(None, 4).unwrap(), plain.build(None, 4).unwrap());
    assert_eq!(with.timesteps(), without.timesteps());
    let (mut a, mut b) = ([0.5f32], [0.5f32]);
    with.step(0, &[0.25], &mut a, &mut NumpyRandom::new(0)).unwrap();
    without.step(0, &[0.25], &mut b, &mut NumpyRandom::new(0)).unwrap();
    assert_eq!(a, b);
    check_warnings(
        serde_json::json!({"_class_name": "DDIMScheduler", "beta_strat": 0.1, "timestep_spacings": "leading"}),
        None,
        &["nothing is known of keys \"beta_strat\", \"timestep_spacings\", which DDIMScheduler does not define; they \
           have no effect"],
    );
    let runge_kutta = "skip_prk_steps is absent, which to diffusers means Runge-Kutta steps at the beginning; they are \
                       taken";
    check_warnings(serde_json::json!({"_class_name": "PNDMScheduler"}), None, &[runge_kutta]);
}

#[test]
fn a_scheduler_asked_for_by_name_has_its_own_algorithm() {
    let sde = serde_json::json!({
        "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "solver_order": 3,
        "use_karras_sigmas": true,
    });
    // A file's own choice of algorithm is followed.
    check_warnings(sde.clone(), None, &[]);
    check_warnings(sde.clone(), Some(SchedulerKind::DpmSolverMultistep), &[]);
    let fourth = serde_json::json!({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4});
    check_refused(fourth.clone(), None, &["solver_order 4", "asked for by name", "dpmpp-2m"]);
    check_warnings(
        fourth,
        Some(SchedulerKind::DpmSolverMultistep),
        &["solver_order 4 is not implemented; dpmpp-2m was asked for by name, and order 2 is taken"],
    );
    check_warnings(
        sde,
        Some(SchedulerKind::Ddim),
        &["use_karras_sigmas true is not followed: ddim, which was asked for by name, has no such choice"],
    );
    let thresholding = serde_json::json!({"_class_name": "DDIMScheduler", "thresholding": true});
    check_warnings(
        thresholding,
        Some(SchedulerKind::EulerDiscrete),
        &["thresholding true is not followed: euler, which was asked for by name, has no such choice"],
    );
    check_warnings(
        serde_json::json!({"_class_name": "MyScheduler"}),
        Some(SchedulerKind::EulerDiscrete),
        &["MyScheduler is no scheduler of diffusers 0.42; euler takes the noise schedule as it is"],
    );
}

#[test]
fn what_a_model_was_trained_with_is_followed_or_refused() {
    let dpm = |key: &str, value: serde_json::Value| serde_json::json!({"_class_name": "DPMSolverMultistepScheduler", key: value});
    for (key, value) in [
        ("variance_type", "learned_range".into()),
        ("predict_epsilon", serde_json::json!(false)),
        ("beta_schedule", "sigmoid".into()),
    ] {
        for kind in [None, Some(SchedulerKind::DpmSolverMultistep), Some(SchedulerKind::Ddim)] {
            if kind.is_none() || key != "variance_type" || kind != Some(SchedulerKind::Ddim) {
                check_refused(dpm(key, value.clone()), kind, &[key]);
            }
        }
    }
    check_refused(
        dpm("variance_type", "learned".into()),
        Some(SchedulerKind::Ddim),
        &["DDIMScheduler", "variance_type \"learned\"", "trained for it"],
    );
    let zero_snr = serde_json::json!({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing"});
    check_refused(zero_snr.clone(), Some(SchedulerKind::Pndm), &["PNDMScheduler", "rescale_betas_zero_snr true"]);
    check_warnings(zero_snr, Some(SchedulerKind::EulerDiscrete), &[]);
    // Fixed variances of DDPM's are of no consequence to others.
    let ddpm =
        serde_json::json!({"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "clip_sample": false});
    for kind in config(ddpm.clone()).kinds() {
        check_warnings(ddpm.clone(), Some(kind), &[]);
    }
}

#[test]
fn null_counts_as_absent() {
    let nulls = config(serde_json::json!({
        "_class_name": "EulerDiscreteScheduler", "prediction_type": null, "beta_start": null, "steps_offset": null,
        "use_karras_sigmas": null, "_use_default_values": null, "interpolation_type": null,
    }));
    assert_eq!(nulls.build(None, 3).unwrap().timesteps(), [999.0, 499.5, 0.0]);
    assert!(nulls.warnings.is_empty());
}

#[test]
fn two_spreads_of_sigmas_contradict_each_other() {
    let both = serde_json::json!({"use_karras_sigmas": true, "use_exponential_sigmas": true});
    check_refused(both, Some(SchedulerKind::EulerDiscrete), &["use_karras_sigmas", "use_exponential_sigmas"]);
}
