//! Which family a checkpoint is of, by its configurations.
//!
//! Classes of pipelines say little: fine-tunes and tasks have classes of their own. What tells is the denoiser, whose
//! configuration is looked at here without being checked: what is wrong with it is said by whoever reads it.

use sd_spec::{Family, Role};
use serde_json::Value;

/// The family of a checkpoint with these configurations; `asks_for_scores`: the pipeline tells its denoiser an aesthetic
/// score.
pub(crate) fn of(config: impl Fn(Role) -> Option<Value>, asks_for_scores: bool) -> Family {
    if config(Role::Mmdit).is_some_and(|transformer| is_of(&transformer, Role::Mmdit)) {
        return Family::Sd3;
    }
    let Some(unet) = config(Role::UNet) else {
        return if config(Role::TextEncoder2).is_some() { Family::Sdxl } else { Family::Sd };
    };
    if unet["addition_embed_type"] != "text_time" {
        return Family::Sd;
    }
    let encoder = config(Role::TextEncoder2);
    let pooled = encoder.as_ref().and_then(|encoder| number(encoder, "projection_dim"));
    match n_size_numbers(&unet, pooled) {
        Some(n) if n == Role::Refiner.n_size_numbers() as u64 => Family::SdxlRefiner,
        Some(_) => Family::Sdxl,
        None if asks_for_scores => Family::SdxlRefiner,
        None => Family::Sdxl,
    }
}

/// Whether a configuration names a class that plays the role.
fn is_of(config: &Value, role: Role) -> bool {
    config["_class_name"].as_str().is_some_and(|class| role.spec().classes.contains(&class))
}

/// How many numbers go with a pooled text of a known width.
fn n_size_numbers(unet: &Value, pooled: Option<u64>) -> Option<u64> {
    let width = number(unet, "projection_class_embeddings_input_dim")?.checked_sub(pooled?)?;
    let each = number(unet, "addition_time_embed_dim").filter(|&each| each > 0)?;
    width.is_multiple_of(each).then_some(width / each)
}

fn number(config: &Value, key: &str) -> Option<u64> {
    config.get(key)?.as_u64()
}
