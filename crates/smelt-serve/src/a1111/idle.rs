//! Fields and options of AUTOMATIC1111's that have no effect here, with the values that have none there either: those are
//! taken, and all others are refused, so that nobody gets another picture than they asked for without being told.

use crate::fields::{Idle, Usual};

const fn idle(name: &'static str, usual: Usual) -> Idle {
    Idle { name, usual }
}

/// Fields of `txt2img` and `img2img`.
pub(super) const FIELDS: &[Idle] = &[
    idle("styles", Usual::Off),
    idle("seed_resize_from_h", Usual::Numbers(&[-1.0])),
    idle("seed_resize_from_w", Usual::Numbers(&[-1.0])),
    idle("restore_faces", Usual::Off),
    idle("tiling", Usual::Off),
    // The server keeps pictures as it was started to, and draws no sheet of several.
    idle("do_not_save_samples", Usual::Any),
    idle("do_not_save_grid", Usual::Any),
    idle("distilled_cfg_scale", Usual::Numbers(&[3.5])),
    idle("s_min_uncond", Usual::Off),
    idle("s_churn", Usual::Off),
    idle("s_tmin", Usual::Off),
    // Counts together with `s_churn` alone.
    idle("s_tmax", Usual::Any),
    idle("s_noise", Usual::Numbers(&[1.0])),
    idle("refiner_checkpoint", Usual::Off),
    // Counts together with a refiner alone.
    idle("refiner_switch_at", Usual::Any),
    idle("disable_extra_networks", Usual::Off),
    idle("firstpass_image", Usual::Off),
    idle("comments", Usual::Any),
    idle("firstphase_width", Usual::Off),
    idle("firstphase_height", Usual::Off),
    idle("script_name", Usual::Off),
    // Count together with a script alone.
    idle("script_args", Usual::Any),
    idle("infotext", Usual::Off),
];

/// Fields of a second pass, which count where there is one.
pub(super) const HIRES: &[Idle] = &[
    idle("hr_checkpoint_name", Usual::Words(&["Use same checkpoint"])),
    idle("hr_sampler_name", Usual::Words(&["Use same sampler"])),
    idle("hr_scheduler", Usual::Words(&["Use same scheduler", "Automatic"])),
    idle("hr_prompt", Usual::Off),
    idle("hr_negative_prompt", Usual::Off),
    idle("hr_additional_modules", Usual::Words(&["Use same choices"])),
    idle("hr_cfg", Usual::Off),
    idle("hr_distilled_cfg", Usual::Numbers(&[3.5])),
];

/// Fields of `img2img` alone.
pub(super) const IMAGE: &[Idle] = &[
    idle("initial_noise_multiplier", Usual::Numbers(&[1.0])),
    idle("latent_mask", Usual::Off),
    // Masks are made round as the model needs them.
    idle("mask_round", Usual::Any),
];

/// Fields of a ControlNet's unit.
pub(super) const UNIT: &[Idle] = &[
    idle("mask", Usual::Off),
    idle("mask_image", Usual::Off),
    idle("effective_region_mask", Usual::Off),
    idle("low_vram", Usual::Any),
    // Pictures are prepared at the size at which they guide.
    idle("pixel_perfect", Usual::Any),
    idle("processor_res", Usual::Any),
    idle("hr_option", Usual::Words(&["Both", "HiResFixOption.BOTH"])),
    idle("control_mode", Usual::Words(&["Balanced"])),
    idle("guessmode", Usual::Off),
    idle("inpaint_crop_input_image", Usual::Any),
    idle("save_detected_map", Usual::Any),
    idle("advanced_weighting", Usual::Off),
];

/// Fields of `extra-single-image` and `extra-batch-images`.
pub(super) const EXTRAS: &[Idle] = &[
    idle("show_extras_results", Usual::Any),
    idle("gfpgan_visibility", Usual::Off),
    idle("codeformer_visibility", Usual::Off),
    // Counts together with CodeFormer alone.
    idle("codeformer_weight", Usual::Any),
    idle("upscaler_2", Usual::Off),
    idle("extras_upscaler_2_visibility", Usual::Off),
    // Counts together with what mends faces alone.
    idle("upscale_first", Usual::Any),
];

/// Options, with what is told of them.
pub(super) const OPTIONS: &[(Idle, &str)] = &[
    (idle("sd_vae", Usual::Words(&["Automatic"])), "\"Automatic\""),
    (idle("eta_noise_seed_delta", Usual::Off), "0"),
    (idle("sd_checkpoint_hash", Usual::Any), "null"),
    (idle("return_grid", Usual::Off), "false"),
    (idle("show_progress_every_n_steps", Usual::Any), "10"),
    (idle("live_previews_enable", Usual::Any), "true"),
    (idle("img2img_fix_steps", Usual::Off), "false"),
    (idle("enable_pnginfo", Usual::Any), "true"),
    (idle("sd_hypernetwork", Usual::Off), "\"None\""),
    (idle("s_churn", Usual::Off), "0"),
    (idle("s_noise", Usual::Numbers(&[1.0])), "1"),
    (idle("initial_noise_multiplier", Usual::Numbers(&[1.0])), "1"),
    (idle("face_restoration_model", Usual::Any), "null"),
];
