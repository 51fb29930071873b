//! Rows that tables of schedulers share, in groups.

use crate::keys::Answer::{Followed, NoEffect, Only};
use crate::keys::Row;

const NO_STEP: &str = "no step of the scheduler reads it";
const LISTED: &str = "steps are chosen from the distilled ones";

pub(super) const CLASS_ROWS: &[Row] = &[
    ("_class_name", Followed),
    // Before version 0.3.
    ("tensor_format", NoEffect("says which library computed it")),
    // Before prediction_type; false was its "sample".
    ("predict_epsilon", Only(&["true"])),
];

/// The noise that a model was trained with, and the steps of it.
pub(super) const NOISE_ROWS: &[Row] = &[
    ("num_train_timesteps", Followed),
    ("beta_start", Followed),
    ("beta_end", Followed),
    ("beta_schedule", Only(&["\"linear\"", "\"scaled_linear\"", "\"squaredcos_cap_v2\""])),
    ("trained_betas", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\"", "\"sample\""])),
    ("timestep_spacing", Only(&["\"leading\"", "\"linspace\"", "\"trailing\""])),
    ("steps_offset", Followed),
];

/// Of schedulers that cannot begin from a predicted clean sample.
pub(super) const NOISE_OR_VELOCITY: &[Row] = &[("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""]))];

/// Of those whose steps do not begin by dividing by zero.
pub(super) const ZERO_SNR: &[Row] = &[("rescale_betas_zero_snr", Followed)];

pub(super) const THRESHOLDING_ROWS: &[Row] =
    &[("thresholding", Followed), ("dynamic_thresholding_ratio", Followed), ("sample_max_value", Followed)];

pub(super) const CLIP_ROWS: &[Row] = &[("clip_sample", Followed), ("clip_sample_range", Followed)];

/// How noise levels are spread, for schedulers that count in sigmas.
pub(super) const SPREAD_ROWS: &[Row] =
    &[("use_karras_sigmas", Followed), ("use_exponential_sigmas", Followed), ("use_beta_sigmas", Followed)];

pub(super) const LU_ROWS: &[Row] = &[("use_lu_lambdas", Followed)];

pub(super) const BOUND_ROWS: &[Row] = &[("sigma_min", Followed), ("sigma_max", Followed)];

pub(super) const END_ROWS: &[Row] = &[("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""]))];

/// Flow matching by a scheduler for betas.
pub(super) const FLOW_ROWS: &[Row] = &[
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\"", "\"sample\"", "\"flow_prediction\""])),
    ("use_flow_sigmas", Followed),
    ("flow_shift", Followed),
    ("use_dynamic_shifting", Followed),
    ("time_shift_type", Only(&["\"exponential\"", "\"linear\""])),
];

pub(super) const LAMBDA_ROWS: &[Row] = &[
    ("lambda_min_clipped", Followed),
    // Those of DDPM's that are fixed change no step of a solver; a learned one is more outputs of the model.
    ("variance_type", Only(&["\"fixed_small\"", "\"fixed_small_log\"", "\"fixed_large\"", "\"fixed_large_log\""])),
];

pub(super) const PNDM_ROWS: &[Row] = &[
    ("skip_prk_steps", Followed),
    ("set_alpha_to_one", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""])),
];

pub(super) const DDIM_ROWS: &[Row] = &[("set_alpha_to_one", Followed)];

pub(super) const DDPM_ROWS: &[Row] = &[
    (
        "variance_type",
        Only(&[
            "\"fixed_small\"",
            "\"fixed_small_log\"",
            "\"fixed_large\"",
            "\"fixed_large_log\"",
            "\"learned\"",
            "\"learned_range\"",
        ]),
    ),
    (
        "beta_schedule",
        Only(&["\"linear\"", "\"scaled_linear\"", "\"squaredcos_cap_v2\"", "\"sigmoid\"", "\"laplace\""]),
    ),
];

/// Of schedulers for models that were distilled from few steps.
pub(super) const DISTILLED_ROWS: &[Row] = &[
    ("original_inference_steps", Followed),
    ("timestep_spacing", NoEffect(LISTED)),
    ("steps_offset", NoEffect(LISTED)),
];

pub(super) const LCM_ROWS: &[Row] = &[("timestep_scaling", Followed)];

pub(super) const TCD_ROWS: &[Row] = &[
    ("timestep_scaling", NoEffect(NO_STEP)),
    ("clip_sample", NoEffect(NO_STEP)),
    ("clip_sample_range", NoEffect(NO_STEP)),
    ("thresholding", NoEffect(NO_STEP)),
    ("dynamic_thresholding_ratio", NoEffect(NO_STEP)),
    ("sample_max_value", NoEffect(NO_STEP)),
];

pub(super) const DPM_SOLVER_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    // diffusers takes the algorithms and solvers of related classes for its own.
    (
        "algorithm_type",
        Only(&["\"dpmsolver++\"", "\"dpmsolver\"", "\"sde-dpmsolver++\"", "\"sde-dpmsolver\"", "\"deis\""]),
    ),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
    ("euler_at_final", Followed),
];

const SOLVERS: &[&str] = &["\"midpoint\"", "\"heun\"", "\"logrho\"", "\"bh1\"", "\"bh2\""];

pub(super) const SINGLESTEP_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"dpmsolver++\"", "\"dpmsolver\"", "\"sde-dpmsolver++\"", "\"deis\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
];

pub(super) const DEIS_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"deis\"", "\"dpmsolver\"", "\"dpmsolver++\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
];

pub(super) const UNI_PC_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("predict_x0", Followed),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
    ("disable_corrector", Followed),
    // A scheduler in a scheduler cannot stand in a file.
    ("solver_p", Only(&["null"])),
    ("shift_terminal", Followed),
];

pub(super) const SA_SOLVER_ROWS: &[Row] = &[
    ("predictor_order", Only(&["1", "2", "3", "4"])),
    ("corrector_order", Only(&["1", "2", "3", "4"])),
    // A function cannot stand in a file.
    ("tau_func", Only(&["null"])),
    ("algorithm_type", Only(&["\"data_prediction\"", "\"noise_prediction\""])),
    ("lower_order_final", Followed),
];

pub(super) const EULER_ROWS: &[Row] = &[
    ("interpolation_type", Only(&["\"linear\"", "\"log_linear\""])),
    ("timestep_type", Only(&["\"discrete\"", "\"continuous\""])),
];

pub(super) const HEUN_ROWS: &[Row] =
    &[("beta_schedule", Only(&["\"linear\"", "\"scaled_linear\"", "\"squaredcos_cap_v2\"", "\"exp\""]))];

pub(super) const DPM_SOLVER_SDE_ROWS: &[Row] =
    &[("noise_sampler_seed", NoEffect("noise is drawn from the picture's own random source"))];

pub(super) const SHIFT_ROWS: &[Row] = &[("num_train_timesteps", Followed), ("shift", Followed)];

pub(super) const FLOW_MATCH_ROWS: &[Row] = &[
    ("use_dynamic_shifting", Followed),
    ("base_shift", NoEffect(OF_SIZE)),
    ("max_shift", NoEffect(OF_SIZE)),
    ("base_image_seq_len", NoEffect(OF_SIZE)),
    ("max_image_seq_len", NoEffect(OF_SIZE)),
    ("invert_sigmas", Followed),
    ("shift_terminal", Followed),
    ("use_karras_sigmas", Followed),
    ("use_exponential_sigmas", Followed),
    ("use_beta_sigmas", Followed),
    ("time_shift_type", Only(&["\"exponential\"", "\"linear\""])),
];

const OF_SIZE: &str = "says how mu follows from a picture's size, and mu is given to the walk";

pub(super) const FLOW_EULER_ROWS: &[Row] = &[("stochastic_sampling", Followed)];

pub(super) const FLOW_LCM_ROWS: &[Row] =
    &[("scale_factors", Only(&["null", "[]"])), ("upscale_mode", NoEffect("only counts with scale_factors"))];

pub(super) const EDM_ROWS: &[Row] = &[
    ("num_train_timesteps", Followed),
    ("sigma_min", Followed),
    ("sigma_max", Followed),
    ("sigma_data", Followed),
    ("sigma_schedule", Only(&["\"karras\"", "\"exponential\""])),
    ("rho", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""])),
    ("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""])),
];

pub(super) const EDM_DPM_SOLVER_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"dpmsolver++\"", "\"sde-dpmsolver++\"", "\"deis\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
    ("euler_at_final", Followed),
];

pub(super) const IPNDM_ROWS: &[Row] = &[("num_train_timesteps", Followed), ("trained_betas", Only(&["null"]))];
