//! The weights of one network of a file under the names of diffusers.

use host_tensor::{DType, HostTensor};
use sd_models::NetworkConfig;

use super::leftover::is_ignored;
use super::names::Names;
use super::parts::{Layout, Part};
use super::tensors::Tensors;
use super::views::view;
use super::{clip, mmdit, unet, vae};
use crate::{Weight, Weights};

/// Which of the weights of a denoiser are taken, where training kept an average of them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Averages {
    /// The weights themselves.
    #[default]
    LeftAside,
    /// Their average (EMA).
    Taken,
}

/// The names of a network's tensors below its prefix.
pub(crate) fn names(weights: &Weights, part: &Part, config: &NetworkConfig) -> Names {
    match (part.layout, config) {
        (_, NetworkConfig::UNet(config)) => unet::unet(config),
        (_, NetworkConfig::ControlNet(config)) => unet::control_net(config),
        (_, NetworkConfig::Mmdit(config)) => mmdit::mmdit(config),
        (_, NetworkConfig::VaeDecoder(config) | NetworkConfig::VaeEncoder(config)) => vae::vae(config),
        (Layout::OpenClip(_), NetworkConfig::ClipTextEncoder(config)) => clip::open_clip(config),
        (Layout::Transformers(_), _) => {
            let is_bare = Tensors::new(weights, part.prefix).has("embeddings.token_embedding.weight");
            let mut names = Names::default();
            if is_bare {
                names.add("text_projection", "text_projection", &[]).add("text_model", "", &[]);
            } else {
                names.add("", "", &[]);
            }
            names
        }
        _ => {
            let mut names = Names::default();
            names.add("", "", &[]);
            names
        }
    }
}

/// The weights of a network; a tensor below its prefix that it has no name for keeps its own, so that whoever compares them
/// with the network finds it.
///
/// # Errors
/// For tensors of which there are no such parts, and averages that are not there.
pub(crate) fn weights(
    file: &Weights,
    part: &Part,
    others: &[&str],
    config: &NetworkConfig,
    averages: Averages,
) -> Result<Weights, String> {
    let names = names(file, part, config);
    let mut weights = Weights::default();
    for (key, weight) in file.iter() {
        let Some(rest) = key.strip_prefix(part.prefix) else { continue };
        let is_others = part.prefix.is_empty() && others.iter().any(|prefix| key.starts_with(prefix));
        if is_others || is_ignored(key) || is_left_aside(part, rest) {
            continue;
        }
        let weight = match averages {
            Averages::Taken => average(file, part, key)?.unwrap_or(weight),
            Averages::LeftAside => weight,
        };
        let made = names.made_of(rest);
        if made.is_empty() {
            weights.insert(rest, weight.clone());
        }
        for (name, how) in made {
            let view = view(weight, how).map_err(|e| format!("{key}: {e}"))?;
            weights.insert(name, view);
        }
    }
    complete(&mut weights, file, part, config)?;
    Ok(weights)
}

/// Whether a text encoder has a tensor that its denoiser was never told of: Stable Diffusion 2 takes what the last layer but
/// one gives, and nothing pooled.
fn is_left_aside(part: &Part, rest: &str) -> bool {
    let Layout::OpenClip(rules) = part.layout else { return false };
    let layer = rest.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split('.').next()?.parse().ok());
    layer.is_some_and(|layer: usize| layer >= rules.max_layers) || (rest == "text_projection" && !rules.is_projected)
}

/// How keys of the average of a UNet begin; the UNet's own follow, without the first part and without dots.
const AVERAGES: &str = "model_ema.";
const AVERAGED: &str = "model.";

/// The average of a denoiser's tensor.
fn average<'a>(file: &'a Weights, part: &Part, key: &str) -> Result<Option<&'a Weight>, String> {
    let (true, Some(rest)) = (part.role.is_denoiser(), key.strip_prefix(AVERAGED)) else { return Ok(None) };
    let average = format!("{AVERAGES}{}", rest.replace('.', ""));
    file.get(&average).map(Some).ok_or_else(|| format!("it has {key}, and no average of it, {average}"))
}

/// Whether the average of a network is there too.
pub(crate) fn has_averages(file: &Weights, part: &Part) -> bool {
    let mut keys = file.iter().map(|(key, _)| key).filter(|key| key.starts_with(part.prefix));
    part.prefix.starts_with(AVERAGED) && keys.next().is_some_and(|key| matches!(average(file, part, key), Ok(Some(_))))
}

/// Adds what files leave out because it follows.
fn complete(weights: &mut Weights, file: &Weights, part: &Part, config: &NetworkConfig) -> Result<(), String> {
    match (part.layout, config) {
        // The projection of CLIP-L in Stable Diffusion 3 is the identity.
        (Layout::Transformers(rules), NetworkConfig::ClipTextEncoder(config)) if rules.is_projected => {
            const PROJECTION: &str = "text_projection.weight";
            if weights.get(PROJECTION).is_none() && config.projection_dim == Some(config.tower.hidden_size) {
                // A matrix of this size is in the file, so one more is no surprise.
                let alike = "text_model.encoder.layers.0.self_attn.q_proj.weight";
                let width = config.tower.hidden_size;
                let alike = weights.get(alike).filter(|weight| weight.shape() == [width, width]);
                let dtype = alike.ok_or("its text encoder has no projection, and no layer to tell its type")?.dtype();
                weights.insert(PROJECTION, identity(width, dtype));
            }
        }
        (Layout::T5, _) => {
            let key = format!("{}encoder.embed_tokens.weight", part.prefix);
            if let (None, Some(table)) = (weights.get("shared.weight"), file.get(&key)) {
                weights.insert("shared.weight", table.clone());
            }
        }
        _ => {}
    }
    Ok(())
}

fn identity(width: usize, dtype: DType) -> HostTensor {
    let values = (0..width * width).map(|at| if at % width == at / width { 1.0 } else { 0.0 });
    HostTensor::from_f32([width, width], values.collect()).cast(dtype)
}
