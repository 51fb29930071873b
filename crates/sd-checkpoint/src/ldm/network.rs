//! The weights of one network of a file under the names of diffusers.

use std::ops::Range;
use std::sync::Arc;

use host_tensor::{DType, HostTensor};
use mil::Compute;
use sd_models::NetworkConfig;
use sd_spec::Role;

use super::leftover::is_ignored;
use super::names::{How, Names};
use super::parts::{Layout, Part};
use super::spelling::Spelling;
use super::tensors::Tensors;
use super::views::view;
use super::{clip, mmdit, tiny_vae, unet, vae};
use crate::{Weight, WeightError, Weights};

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
    let mut names = Names::default();
    match (part.layout, config) {
        (Layout::UNet(Spelling::Original), NetworkConfig::UNet(config)) => return unet::unet(config),
        (Layout::ControlNet(Spelling::Original), NetworkConfig::ControlNet(config)) => {
            return unet::control_net(config);
        }
        (Layout::Mmdit(Spelling::Original), NetworkConfig::Mmdit(config)) => return mmdit::mmdit(config),
        (Layout::Vae(Spelling::Original), NetworkConfig::VaeDecoder(config) | NetworkConfig::VaeEncoder(config)) => {
            return vae::vae(config);
        }
        (
            Layout::TinyVae(Spelling::Original),
            NetworkConfig::TinyDecoder(config) | NetworkConfig::TinyEncoder(config),
        ) => return tiny_vae::half(config, part.role),
        (Layout::OpenClip(_), NetworkConfig::ClipTextEncoder(config)) => return clip::open_clip(config),
        (Layout::Transformers(_), _) if Tensors::new(weights, part.prefix).has("embeddings.token_embedding.weight") => {
            names.add("text_projection", "text_projection", &[]).add("text_model", "", &[]);
        }
        _ => drop(names.add("", "", &[])),
    }
    names
}

/// The weights of a network; a tensor below its prefix that it has no name for keeps its own, so that whoever compares them
/// with the network finds it.
///
/// # Errors
/// For tensors of which there are no such parts, two that are the same of the network's, and averages that are not there.
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
        if is_others || is_ignored(key) || is_left_aside(file, part, config, rest) {
            continue;
        }
        let weight = match averages {
            Averages::Taken => average(file, part, key)?.unwrap_or(weight),
            Averages::LeftAside => weight,
        };
        let mut made = names.made_of(rest);
        if made.is_empty() {
            made.push((rest.to_owned(), How::Same));
        }
        for (name, how) in made {
            let view = view(weight, how).map_err(|e| format!("{key}: {e}"))?;
            if weights.insert(name.as_str(), view).is_some() {
                return Err(format!("it mixes layouts: {key} is {name}, and so is another of its tensors"));
            }
        }
    }
    complete(&mut weights, file, part, config)?;
    Ok(weights)
}

/// Whether a text encoder has a tensor that its denoiser was never told of: Stable Diffusion 2 takes what the last layer but
/// one gives, and nothing pooled; nobody takes what CLIP sees of pictures.
fn is_left_aside(file: &Weights, part: &Part, config: &NetworkConfig, rest: &str) -> bool {
    let (rules, layers, projection, pictures) = match part.layout {
        Layout::Transformers(rules) => {
            let layers = if rest.starts_with("text_model.") { "text_model.encoder.layers." } else { "encoder.layers." };
            (rules, layers, "text_projection.weight", &["vision_model.", "visual_projection."][..])
        }
        Layout::OpenClip(rules) => (rules, "transformer.resblocks.", "text_projection", &["visual."][..]),
        Layout::T5 => {
            return rest == "encoder.embed_tokens.weight"
                && file.get(&format!("{}shared.weight", part.prefix)).is_some();
        }
        _ => return false,
    };
    let is_projected = match config {
        NetworkConfig::ClipTextEncoder(config) => config.projection_dim.is_some(),
        _ => rules.is_projected,
    };
    let layer = rest.strip_prefix(layers).and_then(|rest| rest.split('.').next()?.parse().ok());
    layer.is_some_and(|layer: usize| layer >= rules.max_layers)
        || (rest == projection && !is_projected)
        || pictures.iter().any(|begin| rest.starts_with(begin))
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
        (Layout::Transformers(_), NetworkConfig::ClipTextEncoder(config)) if part.role == Role::TextEncoder => {
            const PROJECTION: &str = "text_projection.weight";
            if weights.get(PROJECTION).is_none() && config.projection_dim == Some(config.tower.hidden_size) {
                let alike = "text_model.encoder.layers.0.self_attn.q_proj.weight";
                let width = config.tower.hidden_size;
                let alike = weights.get(alike).filter(|weight| weight.shape() == [width, width]);
                let dtype = alike.ok_or("its text encoder has no projection, and no layer to tell its type")?.dtype();
                weights.insert(PROJECTION, identity(width, dtype).map_err(|e| e.to_string())?);
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

/// The identity, made by rows: how wide it is is what a file says.
#[derive(Debug)]
struct Identity {
    shape: [usize; 2],
    dtype: DType,
}

fn identity(width: usize, dtype: DType) -> Result<Weight, WeightError> {
    Weight::computed(Arc::new(Identity { shape: [width, width], dtype }))
}

impl Compute for Identity {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let one = HostTensor::from_f32([1], vec![1.0]).cast(self.dtype);
        let one = one.bytes();
        out.fill(0);
        for (at, row) in rows.enumerate() {
            let start = (at * self.shape[1] + row) * one.len();
            out[start..start + one.len()].copy_from_slice(one);
        }
    }
}
