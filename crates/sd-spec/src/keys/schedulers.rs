//! Keys of `scheduler_config.json`, for the schedulers that are implemented.
//!
//! diffusers keeps keys of other classes in the file and hands each class its own, so a table here answers those of its
//! class, and [`is_scheduler_key`] knows those of all others.

mod rows;

use super::Answer::Only;
use super::{DIFFUSERS, Table};
use rows::{
    BOUND_ROWS, CLASS_ROWS, CLIP_ROWS, DDIM_ROWS, DDPM_ROWS, DEIS_ROWS, DISTILLED_ROWS, DPM_SOLVER_ROWS,
    DPM_SOLVER_SDE_ROWS, EDM_DPM_SOLVER_ROWS, EDM_ROWS, END_ROWS, EULER_ROWS, FLOW_EULER_ROWS, FLOW_LCM_ROWS,
    FLOW_MATCH_ROWS, FLOW_ROWS, HEUN_ROWS, IPNDM_ROWS, LAMBDA_ROWS, LCM_ROWS, LU_ROWS, NOISE_OR_VELOCITY, NOISE_ROWS,
    PNDM_ROWS, SA_SOLVER_ROWS, SHIFT_ROWS, SINGLESTEP_ROWS, SPREAD_ROWS, TCD_ROWS, THRESHOLDING_ROWS, UNI_PC_ROWS,
    ZERO_SNR,
};

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
