//! Keys of `scheduler_config.json`, for the schedulers that are implemented.
//!
//! diffusers keeps keys of other classes in the file and hands each class its own, so a table here answers those of its
//! class, and [`is_scheduler_key`] knows those of all others.

use super::Answer::{Followed, NoEffect, Only};
use super::{DIFFUSERS, Row, Table};

const WITHOUT_THRESHOLDING: &str = "only counts with thresholding";
const WITHOUT_FLOW: &str = "only counts for flow matching";

/// diffusers `PNDMScheduler`.
pub const PNDM: Table = Table {
    name: "PNDMScheduler",
    classes: &["ConfigMixin", "PNDMScheduler"],
    rows: &[PNDM_ROWS, NOISE_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DDIMScheduler`.
pub const DDIM: Table = Table {
    name: "DDIMScheduler",
    classes: &["ConfigMixin", "DDIMScheduler"],
    rows: &[DDIM_ROWS, NOISE_ROWS, ZERO_SNR, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DPMSolverMultistepScheduler`.
pub const DPM_SOLVER_MULTISTEP: Table = Table {
    name: "DPMSolverMultistepScheduler",
    classes: &["ConfigMixin", "DPMSolverMultistepScheduler"],
    rows: &[DPM_SOLVER_ROWS, NOISE_ROWS, ZERO_SNR, SIGMA_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `EulerDiscreteScheduler`.
pub const EULER_DISCRETE: Table = Table {
    name: "EulerDiscreteScheduler",
    classes: &["ConfigMixin", "EulerDiscreteScheduler"],
    rows: &[EULER_ROWS, NOISE_ROWS, ZERO_SNR, SIGMA_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

const CLASS_ROWS: &[Row] = &[
    ("_class_name", Followed),
    // Before version 0.3.
    ("tensor_format", NoEffect("says which library computed it")),
    // Before prediction_type; false was its "sample".
    ("predict_epsilon", Only(&["true"])),
];

/// The noise that a model was trained with, and the steps of it.
const NOISE_ROWS: &[Row] = &[
    ("num_train_timesteps", Followed),
    ("beta_start", Followed),
    ("beta_end", Followed),
    ("beta_schedule", Only(&["\"linear\"", "\"scaled_linear\"", "\"squaredcos_cap_v2\""])),
    ("trained_betas", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\"", "\"sample\""])),
    ("timestep_spacing", Only(&["\"leading\"", "\"linspace\"", "\"trailing\""])),
    ("steps_offset", Followed),
];

/// Not PNDM's, whose steps would begin by dividing by zero.
const ZERO_SNR: &[Row] = &[("rescale_betas_zero_snr", Followed)];

const THRESHOLDING_ROWS: &[Row] = &[
    ("thresholding", Only(&["false"])),
    ("dynamic_thresholding_ratio", NoEffect(WITHOUT_THRESHOLDING)),
    ("sample_max_value", NoEffect(WITHOUT_THRESHOLDING)),
];

/// How noise levels are spread, for schedulers that count in sigmas.
const SIGMA_ROWS: &[Row] = &[
    ("use_karras_sigmas", Followed),
    ("use_exponential_sigmas", Followed),
    ("use_beta_sigmas", Only(&["false"])),
    ("use_lu_lambdas", Only(&["false"])),
    ("use_flow_sigmas", Only(&["false"])),
    ("flow_shift", NoEffect(WITHOUT_FLOW)),
    ("sigma_min", Followed),
    ("sigma_max", Followed),
    ("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""])),
];

const PNDM_ROWS: &[Row] = &[
    ("skip_prk_steps", Only(&["true"])),
    ("set_alpha_to_one", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""])),
];

const DDIM_ROWS: &[Row] = &[("clip_sample", Followed), ("clip_sample_range", Followed), ("set_alpha_to_one", Followed)];

const DPM_SOLVER_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2"])),
    // diffusers takes the algorithms and solvers of related classes for its own.
    ("algorithm_type", Only(&["\"dpmsolver++\"", "\"deis\""])),
    ("solver_type", Only(&["\"midpoint\"", "\"heun\"", "\"logrho\"", "\"bh1\"", "\"bh2\""])),
    ("lower_order_final", Followed),
    ("euler_at_final", Followed),
    ("lambda_min_clipped", Followed),
    // Those of DDPM's that are fixed change no step of a solver; a learned one is more outputs of the model.
    ("variance_type", Only(&["\"fixed_small\"", "\"fixed_small_log\"", "\"fixed_large\"", "\"fixed_large_log\""])),
    ("use_dynamic_shifting", Only(&["false"])),
    ("time_shift_type", NoEffect(WITHOUT_FLOW)),
];

const EULER_ROWS: &[Row] = &[("interpolation_type", Only(&["\"linear\""])), ("timestep_type", Only(&["\"discrete\""]))];

/// Keys that say how a model was trained: a scheduler that cannot follow one draws noise, whatever its own algorithm.
///
/// All others that a scheduler may not know are a choice of how to sample, which may be made anew.
pub const TRAINED_WITH: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "predict_epsilon",
    "rescale_betas_zero_snr",
    "snr_shift_scale",
    "use_flow_sigmas",
    "use_dynamic_shifting",
    "variance_type",
    "timestep_type",
];

/// True for keys that a scheduler class of diffusers defines.
#[must_use]
pub fn is_scheduler_key(key: &str) -> bool {
    super::classes().iter().any(|(class, keys)| is_scheduler(class) && keys.iter().any(|k| k == key))
}

/// Whether a scheduler class of diffusers adds noise by betas, as Stable Diffusion 1.x and 2.x were trained; `None` for a
/// class that is not in the data.
#[must_use]
pub fn has_betas(class: &str) -> Option<bool> {
    is_scheduler(class).then(|| super::defined(class)).flatten().map(|keys| keys.iter().any(|key| key == "beta_start"))
}

fn is_scheduler(class: &str) -> bool {
    class.ends_with("Scheduler")
}
