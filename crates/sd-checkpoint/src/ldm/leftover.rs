//! Tensors of files that no network is made of: known ones, with the reason, and the others.

use super::parts::{Contents, Part};
use crate::Weights;

/// Keys that healthy files hold and nobody needs; `*` stands for anything.
const IGNORED: &[&str] = &[
    // Buffers of the noise schedule.
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "denoiser.sigmas",
    "model_sampling.sigmas",
    // They say what the model predicts.
    "v_pred",
    "ztsnr",
    // The average of the UNet, which is spoken of where it is there.
    "model_ema.*",
    // 0, 1, 2, …
    "*.position_ids",
    // CLIP's other half, and what only training needs.
    "*.logit_scale",
    "logit_scale",
    "*.attn_mask",
    "loss.*",
    "*.loss.*",
    // The same as shared.weight.
    "text_encoders.t5xxl.transformer.encoder.embed_tokens.weight",
];

/// Whether nobody needs the tensor of a key, and every such file may have it.
pub(crate) fn is_ignored(key: &str) -> bool {
    IGNORED.iter().any(|pattern| fits(pattern, key))
}

/// Keys that belong to nothing that is known.
pub(crate) fn leftover(weights: &Weights, contents: &Contents) -> Vec<String> {
    let is_of = |part: &Part, key: &str| !part.prefix.is_empty() && key.starts_with(part.prefix);
    // What begins with nothing is a network's, and whoever reads the network says what is not.
    let takes_all = contents.parts.iter().any(|part| part.prefix.is_empty());
    let keys = weights.iter().map(|(key, _)| key);
    let left = keys.filter(|key| !takes_all && !is_ignored(key) && !contents.parts.iter().any(|part| is_of(part, key)));
    left.map(str::to_owned).collect()
}

fn fits(pattern: &str, key: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = key.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_nothing_else_does() {
        for (key, is) in [
            ("betas", true),
            ("betas2", false),
            ("model.betas", false),
            ("model_ema.diffusion_modelout2bias", true),
            ("cond_stage_model.transformer.text_model.embeddings.position_ids", true),
            ("conditioner.embedders.1.model.logit_scale", true),
            ("loss.discriminator.main.0.weight", true),
            ("first_stage_model.loss.logvar", true),
            ("model.diffusion_model.closs.x", false),
        ] {
            assert_eq!(is_ignored(key), is, "{key}");
        }
    }
}
