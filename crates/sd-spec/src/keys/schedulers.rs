//! Keys of `scheduler_config.json`, for the schedulers that are implemented.
//!
//! diffusers keeps keys of other classes in the file and hands each class its own, so a table here answers those of its
//! class, and [`is_scheduler_key`] knows those of all others.

use super::Answer::{Followed, NoEffect, Only};
use super::{DIFFUSERS, Row, Table};

const NO_STEP: &str = "no step of the scheduler reads it";
const LISTED: &str = "steps are chosen from the distilled ones";

/// diffusers `PNDMScheduler`.
pub const PNDM: Table = Table {
    name: "PNDMScheduler",
    classes: &["ConfigMixin", "PNDMScheduler"],
    rows: &[PNDM_ROWS, NOISE_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DDIMScheduler`.
pub const DDIM: Table = Table {
    name: "DDIMScheduler",
    classes: &["ConfigMixin", "DDIMScheduler"],
    rows: &[CLIP_ROWS, DDIM_ROWS, NOISE_ROWS, ZERO_SNR, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DDPMScheduler`.
pub const DDPM: Table = Table {
    name: "DDPMScheduler",
    classes: &["ConfigMixin", "DDPMScheduler"],
    rows: &[DDPM_ROWS, CLIP_ROWS, NOISE_ROWS, ZERO_SNR, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `LCMScheduler`.
pub const LCM: Table = Table {
    name: "LCMScheduler",
    classes: &["ConfigMixin", "LCMScheduler"],
    rows: &[
        DISTILLED_ROWS,
        LCM_ROWS,
        CLIP_ROWS,
        DDIM_ROWS,
        NOISE_ROWS,
        ZERO_SNR,
        THRESHOLDING_ROWS,
        CLASS_ROWS,
        DIFFUSERS,
    ],
    nulls: &[],
};

/// diffusers `TCDScheduler`.
pub const TCD: Table = Table {
    name: "TCDScheduler",
    classes: &["ConfigMixin", "TCDScheduler"],
    rows: &[DISTILLED_ROWS, TCD_ROWS, DDIM_ROWS, NOISE_ROWS, ZERO_SNR, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DPMSolverMultistepScheduler`.
pub const DPM_SOLVER_MULTISTEP: Table = Table {
    name: "DPMSolverMultistepScheduler",
    classes: &["ConfigMixin", "DPMSolverMultistepScheduler"],
    rows: &[
        DPM_SOLVER_ROWS,
        LAMBDA_ROWS,
        LU_ROWS,
        FLOW_ROWS,
        NOISE_ROWS,
        ZERO_SNR,
        SPREAD_ROWS,
        END_ROWS,
        THRESHOLDING_ROWS,
        CLASS_ROWS,
        DIFFUSERS,
    ],
    nulls: &[],
};

/// diffusers `DPMSolverSinglestepScheduler`.
pub const DPM_SOLVER_SINGLESTEP: Table = Table {
    name: "DPMSolverSinglestepScheduler",
    classes: &["ConfigMixin", "DPMSolverSinglestepScheduler"],
    rows: &[
        SINGLESTEP_ROWS,
        LAMBDA_ROWS,
        FLOW_ROWS,
        NOISE_ROWS,
        SPREAD_ROWS,
        END_ROWS,
        THRESHOLDING_ROWS,
        CLASS_ROWS,
        DIFFUSERS,
    ],
    nulls: &[],
};

/// diffusers `DEISMultistepScheduler`.
pub const DEIS_MULTISTEP: Table = Table {
    name: "DEISMultistepScheduler",
    classes: &["ConfigMixin", "DEISMultistepScheduler"],
    rows: &[DEIS_ROWS, FLOW_ROWS, NOISE_ROWS, SPREAD_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `UniPCMultistepScheduler`.
pub const UNI_PC_MULTISTEP: Table = Table {
    name: "UniPCMultistepScheduler",
    classes: &["ConfigMixin", "UniPCMultistepScheduler"],
    rows: &[
        UNI_PC_ROWS,
        FLOW_ROWS,
        NOISE_ROWS,
        ZERO_SNR,
        SPREAD_ROWS,
        END_ROWS,
        BOUND_ROWS,
        THRESHOLDING_ROWS,
        CLASS_ROWS,
        DIFFUSERS,
    ],
    nulls: &[],
};

/// diffusers `SASolverScheduler`.
pub const SA_SOLVER: Table = Table {
    name: "SASolverScheduler",
    classes: &["ConfigMixin", "SASolverScheduler"],
    rows: &[SA_SOLVER_ROWS, LAMBDA_ROWS, FLOW_ROWS, NOISE_ROWS, SPREAD_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `EulerDiscreteScheduler`.
pub const EULER_DISCRETE: Table = Table {
    name: "EulerDiscreteScheduler",
    classes: &["ConfigMixin", "EulerDiscreteScheduler"],
    rows: &[EULER_ROWS, NOISE_ROWS, ZERO_SNR, SPREAD_ROWS, END_ROWS, BOUND_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `EulerAncestralDiscreteScheduler`.
pub const EULER_ANCESTRAL_DISCRETE: Table = Table {
    name: "EulerAncestralDiscreteScheduler",
    classes: &["ConfigMixin", "EulerAncestralDiscreteScheduler"],
    rows: &[NOISE_OR_VELOCITY, NOISE_ROWS, ZERO_SNR, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `HeunDiscreteScheduler`.
pub const HEUN_DISCRETE: Table = Table {
    name: "HeunDiscreteScheduler",
    classes: &["ConfigMixin", "HeunDiscreteScheduler"],
    rows: &[HEUN_ROWS, CLIP_ROWS, NOISE_ROWS, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `LMSDiscreteScheduler`.
pub const LMS_DISCRETE: Table = Table {
    name: "LMSDiscreteScheduler",
    classes: &["ConfigMixin", "LMSDiscreteScheduler"],
    rows: &[NOISE_ROWS, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `KDPM2DiscreteScheduler`.
pub const KDPM2_DISCRETE: Table = Table {
    name: "KDPM2DiscreteScheduler",
    classes: &["ConfigMixin", "KDPM2DiscreteScheduler"],
    rows: &[NOISE_OR_VELOCITY, NOISE_ROWS, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `KDPM2AncestralDiscreteScheduler`.
pub const KDPM2_ANCESTRAL_DISCRETE: Table = Table {
    name: "KDPM2AncestralDiscreteScheduler",
    classes: &["ConfigMixin", "KDPM2AncestralDiscreteScheduler"],
    rows: &[NOISE_OR_VELOCITY, NOISE_ROWS, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `DPMSolverSDEScheduler`.
pub const DPM_SOLVER_SDE: Table = Table {
    name: "DPMSolverSDEScheduler",
    classes: &["ConfigMixin", "DPMSolverSDEScheduler"],
    rows: &[DPM_SOLVER_SDE_ROWS, NOISE_OR_VELOCITY, NOISE_ROWS, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// k-diffusion's `sample_dpmpp_2s_ancestral`, which diffusers has not.
pub const DPMPP_2S_ANCESTRAL: Table = Table {
    name: "DPMPP2SAncestralScheduler",
    classes: &["ConfigMixin"],
    rows: &[NOISE_ROWS, ZERO_SNR, SPREAD_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `FlowMatchEulerDiscreteScheduler`.
pub const FLOW_MATCH_EULER_DISCRETE: Table = Table {
    name: "FlowMatchEulerDiscreteScheduler",
    classes: &["ConfigMixin", "FlowMatchEulerDiscreteScheduler"],
    rows: &[FLOW_EULER_ROWS, FLOW_MATCH_ROWS, SHIFT_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `FlowMatchHeunDiscreteScheduler`.
pub const FLOW_MATCH_HEUN_DISCRETE: Table = Table {
    name: "FlowMatchHeunDiscreteScheduler",
    classes: &["ConfigMixin", "FlowMatchHeunDiscreteScheduler"],
    rows: &[SHIFT_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `FlowMatchLCMScheduler`.
pub const FLOW_MATCH_LCM: Table = Table {
    name: "FlowMatchLCMScheduler",
    classes: &["ConfigMixin", "FlowMatchLCMScheduler"],
    rows: &[FLOW_LCM_ROWS, FLOW_MATCH_ROWS, SHIFT_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `EDMEulerScheduler`.
pub const EDM_EULER: Table = Table {
    name: "EDMEulerScheduler",
    classes: &["ConfigMixin", "EDMEulerScheduler"],
    rows: &[EDM_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `EDMDPMSolverMultistepScheduler`.
pub const EDM_DPM_SOLVER_MULTISTEP: Table = Table {
    name: "EDMDPMSolverMultistepScheduler",
    classes: &["ConfigMixin", "EDMDPMSolverMultistepScheduler"],
    rows: &[EDM_DPM_SOLVER_ROWS, EDM_ROWS, THRESHOLDING_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// diffusers `IPNDMScheduler`.
pub const IPNDM: Table = Table {
    name: "IPNDMScheduler",
    classes: &["ConfigMixin", "IPNDMScheduler"],
    rows: &[IPNDM_ROWS, CLASS_ROWS, DIFFUSERS],
    nulls: &[],
};

/// Words of the noise schedule that some scheduler understands.
pub const ANY_SCHEDULER: Table = Table {
    name: "a scheduler",
    classes: &[],
    rows: &[&[
        ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\"", "\"sample\"", "\"flow_prediction\""])),
        (
            "beta_schedule",
            Only(&[
                "\"linear\"",
                "\"scaled_linear\"",
                "\"squaredcos_cap_v2\"",
                "\"sigmoid\"",
                "\"laplace\"",
                "\"exp\"",
            ]),
        ),
        ("timestep_spacing", Only(&["\"leading\"", "\"linspace\"", "\"trailing\""])),
        ("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""])),
    ]],
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

/// Of schedulers that cannot begin from a predicted clean sample.
const NOISE_OR_VELOCITY: &[Row] = &[("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""]))];

/// Of those whose steps do not begin by dividing by zero.
const ZERO_SNR: &[Row] = &[("rescale_betas_zero_snr", Followed)];

const THRESHOLDING_ROWS: &[Row] =
    &[("thresholding", Followed), ("dynamic_thresholding_ratio", Followed), ("sample_max_value", Followed)];

const CLIP_ROWS: &[Row] = &[("clip_sample", Followed), ("clip_sample_range", Followed)];

/// How noise levels are spread, for schedulers that count in sigmas.
const SPREAD_ROWS: &[Row] =
    &[("use_karras_sigmas", Followed), ("use_exponential_sigmas", Followed), ("use_beta_sigmas", Followed)];

const LU_ROWS: &[Row] = &[("use_lu_lambdas", Followed)];

const BOUND_ROWS: &[Row] = &[("sigma_min", Followed), ("sigma_max", Followed)];

const END_ROWS: &[Row] = &[("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""]))];

/// Flow matching by a scheduler for betas.
const FLOW_ROWS: &[Row] = &[
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\"", "\"sample\"", "\"flow_prediction\""])),
    ("use_flow_sigmas", Followed),
    ("flow_shift", Followed),
    ("use_dynamic_shifting", Followed),
    ("time_shift_type", Only(&["\"exponential\"", "\"linear\""])),
];

const LAMBDA_ROWS: &[Row] = &[
    ("lambda_min_clipped", Followed),
    // Those of DDPM's that are fixed change no step of a solver; a learned one is more outputs of the model.
    ("variance_type", Only(&["\"fixed_small\"", "\"fixed_small_log\"", "\"fixed_large\"", "\"fixed_large_log\""])),
];

const PNDM_ROWS: &[Row] = &[
    ("skip_prk_steps", Followed),
    ("set_alpha_to_one", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""])),
];

const DDIM_ROWS: &[Row] = &[("set_alpha_to_one", Followed)];

const DDPM_ROWS: &[Row] = &[
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
const DISTILLED_ROWS: &[Row] = &[
    ("original_inference_steps", Followed),
    ("timestep_spacing", NoEffect(LISTED)),
    ("steps_offset", NoEffect(LISTED)),
];

const LCM_ROWS: &[Row] = &[("timestep_scaling", Followed)];

const TCD_ROWS: &[Row] = &[
    ("timestep_scaling", NoEffect(NO_STEP)),
    ("clip_sample", NoEffect(NO_STEP)),
    ("clip_sample_range", NoEffect(NO_STEP)),
    ("thresholding", NoEffect(NO_STEP)),
    ("dynamic_thresholding_ratio", NoEffect(NO_STEP)),
    ("sample_max_value", NoEffect(NO_STEP)),
];

const DPM_SOLVER_ROWS: &[Row] = &[
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

const SINGLESTEP_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"dpmsolver++\"", "\"dpmsolver\"", "\"sde-dpmsolver++\"", "\"deis\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
];

const DEIS_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"deis\"", "\"dpmsolver\"", "\"dpmsolver++\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
];

const UNI_PC_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("predict_x0", Followed),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
    ("disable_corrector", Followed),
    // A scheduler in a scheduler cannot stand in a file.
    ("solver_p", Only(&["null"])),
    ("shift_terminal", Followed),
];

const SA_SOLVER_ROWS: &[Row] = &[
    ("predictor_order", Only(&["1", "2", "3", "4"])),
    ("corrector_order", Only(&["1", "2", "3", "4"])),
    // A function cannot stand in a file.
    ("tau_func", Only(&["null"])),
    ("algorithm_type", Only(&["\"data_prediction\"", "\"noise_prediction\""])),
    ("lower_order_final", Followed),
];

const EULER_ROWS: &[Row] = &[
    ("interpolation_type", Only(&["\"linear\"", "\"log_linear\""])),
    ("timestep_type", Only(&["\"discrete\"", "\"continuous\""])),
];

const HEUN_ROWS: &[Row] =
    &[("beta_schedule", Only(&["\"linear\"", "\"scaled_linear\"", "\"squaredcos_cap_v2\"", "\"exp\""]))];

const DPM_SOLVER_SDE_ROWS: &[Row] =
    &[("noise_sampler_seed", NoEffect("noise is drawn from the picture's own random source"))];

const SHIFT_ROWS: &[Row] = &[("num_train_timesteps", Followed), ("shift", Followed)];

const FLOW_MATCH_ROWS: &[Row] = &[
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

const FLOW_EULER_ROWS: &[Row] = &[("stochastic_sampling", Followed)];

const FLOW_LCM_ROWS: &[Row] =
    &[("scale_factors", Only(&["null", "[]"])), ("upscale_mode", NoEffect("only counts with scale_factors"))];

const EDM_ROWS: &[Row] = &[
    ("num_train_timesteps", Followed),
    ("sigma_min", Followed),
    ("sigma_max", Followed),
    ("sigma_data", Followed),
    ("sigma_schedule", Only(&["\"karras\"", "\"exponential\""])),
    ("rho", Followed),
    ("prediction_type", Only(&["\"epsilon\"", "\"v_prediction\""])),
    ("final_sigmas_type", Only(&["\"zero\"", "\"sigma_min\""])),
];

const EDM_DPM_SOLVER_ROWS: &[Row] = &[
    ("solver_order", Only(&["1", "2", "3"])),
    ("algorithm_type", Only(&["\"dpmsolver++\"", "\"sde-dpmsolver++\"", "\"deis\""])),
    ("solver_type", Only(SOLVERS)),
    ("lower_order_final", Followed),
    ("euler_at_final", Followed),
];

const IPNDM_ROWS: &[Row] = &[("num_train_timesteps", Followed), ("trained_betas", Only(&["null"]))];

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
