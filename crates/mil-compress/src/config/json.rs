//! Configurations in JSON.
//!
//! ```json
//! {"global": {"mode": "kmeans", "bits": 6},
//!  "op_types": {"gather": null, "conv": {"mode": "linear_symmetric", "dtype": "int8"}},
//!  "weights": {"conv_in*": null, "mid_block_attentions_0_proj_in_weight_to_fp16": {"mode": "kmeans", "bits": 8}}}
//! ```
//!
//! A weight's scheme may be its short name too: `"weights": {"conv_in_weight_to_fp16": "4g16"}`.
//! Several configurations are recipes of one file, by name: `{"recipes": {"small": {"weights": {…}}}}`.
//! Apple's recipes of mixed-bit palettization are taken too: `{"recipes": {"name": {"layer": bits}}}` as its analysis
//! writes them, or `{"layer": bits}` alone.

use super::{Config, Name};
use crate::{Blocks, CompressError, Named, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, Scheme};
use host_tensor::DType;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: Option<SchemeText>,
    #[serde(default)]
    op_types: BTreeMap<String, Option<SchemeText>>,
    #[serde(default)]
    weights: Map<String, Value>,
    #[serde(default)]
    min_elements: Option<usize>,
}

/// A scheme as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SchemeText {
    mode: Option<String>,
    bits: Option<u8>,
    dtype: Option<String>,
    granularity: Option<String>,
    group_size: Option<usize>,
    block_size: Option<usize>,
    axis: Option<usize>,
    cluster_dim: Option<usize>,
    per_channel_scale: bool,
    prune: Option<PruneText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PruneText {
    sparsity: Option<f32>,
    threshold: Option<f32>,
    minimum_sparsity: Option<f32>,
    block_size: Option<usize>,
    n_of_m: Option<(usize, usize)>,
    axis: Option<usize>,
}

pub(super) fn parse(text: &str, recipe: Option<&str>) -> Result<Config, CompressError> {
    let error = |m: String| CompressError::Config(m);
    let value: Value = serde_json::from_str(text).map_err(|e| error(e.to_string()))?;
    let Value::Object(map) = &value else { return Err(error("it is not an object".into())) };
    if let Some(recipes) = map.get("recipes") {
        let chosen = choose(recipes, recipe)?;
        let is_ours = chosen.keys().any(|key| OWN_KEYS.contains(&key.as_str()));
        return if is_ours { own(Value::Object(chosen.clone())) } else { recipe_of(chosen) };
    }
    if !map.is_empty() && map.values().all(Value::is_u64) && !map.contains_key("min_elements") {
        return recipe_of(map);
    }
    if let Some(name) = recipe {
        return Err(error(format!("recipe {name:?} was asked for, and it holds no recipes")));
    }
    own(value)
}

/// Keys of a configuration of ours; no layer is called so.
const OWN_KEYS: [&str; 4] = ["global", "op_types", "weights", "min_elements"];

fn own(value: Value) -> Result<Config, CompressError> {
    let error = |m: String| CompressError::Config(m);
    let file: File = serde_json::from_value(value).map_err(|e| error(e.to_string()))?;
    let mut config = Config::default();
    if let Some(n) = file.min_elements {
        config.min_elements = n;
    }
    if let Some(text) = &file.global {
        config.global = scheme(text).map_err(|m| error(format!("global: {m}")))?;
    }
    for (kind, text) in &file.op_types {
        let scheme = text.as_ref().map_or(Ok(Scheme::Keep), scheme);
        config.op_types.insert(kind.clone(), scheme.map_err(|m| error(format!("op_types.{kind}: {m}")))?);
    }
    for (name, value) in file.weights {
        let at = |m: String| error(format!("weights.{name}: {m}"));
        let scheme = match value {
            Value::String(short) => short.parse::<Named>().map_err(|e| at(e.to_string()))?.scheme(),
            value => {
                let text: Option<SchemeText> = serde_json::from_value(value).map_err(|e| at(e.to_string()))?;
                text.as_ref().map_or(Ok(Scheme::Keep), scheme).map_err(at)?
            }
        };
        let key = if name.contains('.') { Name::Layer(name) } else { Name::Pattern(name) };
        config.names.push((key, scheme));
    }
    Ok(config)
}

fn choose<'v>(recipes: &'v Value, wanted: Option<&str>) -> Result<&'v Map<String, Value>, CompressError> {
    let error = |m: String| Err(CompressError::Config(m));
    let Value::Object(recipes) = recipes else { return error("recipes is not an object".into()) };
    let names = || recipes.keys().cloned().collect::<Vec<_>>().join(", ");
    let found = match wanted {
        Some(name) => recipes.get(name),
        None if recipes.len() == 1 => recipes.values().next(),
        None => return error(format!("it holds {} recipes; choose one (--recipe): {}", recipes.len(), names())),
    };
    match found {
        Some(Value::Object(map)) => Ok(map),
        Some(_) => error("the recipe is not an object".into()),
        None => error(format!("it has no recipe {:?}; it has {}", wanted.unwrap_or_default(), names())),
    }
}

/// Bits by layer; what is not named is left.
fn recipe_of(map: &Map<String, Value>) -> Result<Config, CompressError> {
    let mut config = Config::default();
    for (layer, bits) in map {
        let bits = bits.as_u64().and_then(|b| u8::try_from(b).ok()).filter(|b| matches!(b, 1 | 2 | 3 | 4 | 6 | 8 | 16));
        let Some(bits) = bits else {
            return Err(CompressError::Config(format!("layer {layer}: bits are 1, 2, 3, 4, 6, 8, or 16 to leave it")));
        };
        config.names.push((Name::Layer(layer.clone()), Scheme::palettes(bits)));
    }
    Ok(config)
}

fn scheme(text: &SchemeText) -> Result<Scheme, String> {
    let prune = text.prune.as_ref().map(prune).transpose()?;
    let bits = || text.bits.ok_or("bits are missing: 1, 2, 3, 4, 6 or 8");
    let palettize = |mode| -> Result<Palettize, String> {
        Ok(Palettize {
            mode,
            groups: match (text.granularity.as_deref(), text.group_size) {
                (None | Some("per_tensor"), None) => PaletteGroups::PerTensor,
                (None | Some("per_grouped_channel"), Some(group_size)) => {
                    PaletteGroups::PerGroupedChannel { group_size, axis: text.axis }
                }
                _ => return Err("granularity of palettes is per_tensor, or per_grouped_channel with group_size".into()),
            },
            cluster_dim: text.cluster_dim.unwrap_or(1),
            per_channel_scale: text.per_channel_scale,
        })
    };
    let quantize = |symmetric| -> Result<Quantize, String> {
        let dtype = match text.dtype.as_deref() {
            None | Some("int8") => DType::I8,
            Some("uint8") => DType::U8,
            Some("int4") => DType::I4,
            Some("uint4") => DType::U4,
            Some(other) => return Err(format!("dtype {other:?} is not int8, uint8, int4 or uint4")),
        };
        let blocks = match (text.granularity.as_deref(), text.block_size) {
            (None | Some("per_channel"), None) => Blocks::PerChannel,
            (Some("per_tensor"), None) => Blocks::PerTensor,
            (None | Some("per_block"), Some(size)) => Blocks::PerBlock { size },
            _ => return Err("granularity of scales is per_channel, per_tensor, or per_block with block_size".into()),
        };
        Ok(Quantize { dtype, symmetric, blocks })
    };
    let scheme = match text.mode.as_deref() {
        Some("kmeans") => Scheme::Palettize(palettize(PaletteMode::KMeans { bits: bits()? })?),
        Some("uniform") => Scheme::Palettize(palettize(PaletteMode::Uniform { bits: bits()? })?),
        Some("unique") => Scheme::Palettize(palettize(PaletteMode::Unique)?),
        Some("linear_symmetric") => Scheme::Quantize(quantize(true)?),
        Some("linear") => Scheme::Quantize(quantize(false)?),
        Some("half") => Scheme::Half,
        Some("keep") => Scheme::Keep,
        None if text.bits.is_some() => Scheme::Palettize(palettize(PaletteMode::KMeans { bits: bits()? })?),
        None if prune.is_some() => Scheme::Keep,
        other => {
            let modes = "kmeans, uniform, unique, linear_symmetric, linear, half, keep";
            return Err(format!("mode {:?} is not one of {modes}", other.unwrap_or("(none)")));
        }
    };
    match (prune, scheme) {
        (None, scheme) => Ok(scheme),
        (Some(prune), Scheme::Keep) => Ok(Scheme::Prune(prune)),
        (Some(prune), Scheme::Palettize(how)) => Ok(Scheme::PrunePalettize(prune, how)),
        (Some(prune), Scheme::Quantize(how)) => Ok(Scheme::PruneQuantize(prune, how)),
        (Some(_), _) => Err("pruning goes with palettes, with integers, or alone".into()),
    }
}

fn prune(text: &PruneText) -> Result<Prune, String> {
    match *text {
        PruneText { n_of_m: Some((n, m)), sparsity: None, threshold: None, block_size: None, axis, .. } => {
            Ok(Prune::NOfM { n, m, axis: axis.unwrap_or(1) })
        }
        PruneText { sparsity: Some(sparsity), block_size: Some(size), threshold: None, n_of_m: None, axis, .. } => {
            Ok(Prune::Block { sparsity, size, axis: axis.unwrap_or(0) })
        }
        PruneText { sparsity: Some(sparsity), threshold: None, n_of_m: None, .. } => Ok(Prune::Magnitude { sparsity }),
        PruneText {
            threshold: Some(threshold),
            sparsity: None,
            n_of_m: None,
            block_size: None,
            minimum_sparsity,
            ..
        } => Ok(Prune::Threshold { threshold, minimum_sparsity: minimum_sparsity.unwrap_or(0.5) }),
        _ => Err("prune takes one of sparsity, sparsity with block_size, threshold, n_of_m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read() {
        let text = r#"{"global": {"mode": "kmeans", "bits": 6}, "min_elements": 100,
            "op_types": {"conv": {"mode": "linear", "dtype": "uint4", "block_size": 32}},
            "weights": {"conv_in*": null, "down.0.proj": {"bits": 8, "prune": {"sparsity": 0.5}}}}"#;
        let config = Config::from_json(text, None).unwrap();
        assert_eq!(config.global, Scheme::palettes(6));
        assert_eq!(config.min_elements, 100);
        assert_eq!(config.op_types["gather"], Scheme::Keep);
        let Scheme::Quantize(q) = config.op_types["conv"] else { panic!("quantized") };
        assert_eq!((q.dtype, q.symmetric, q.blocks), (DType::U4, false, Blocks::PerBlock { size: 32 }));
        assert_eq!(config.names[0], (Name::Pattern("conv_in*".into()), Scheme::Keep));
        assert!(matches!(config.names[1], (Name::Layer(_), Scheme::PrunePalettize(Prune::Magnitude { .. }, _))));
    }

    #[test]
    fn recipes_are_read() {
        let text =
            r#"{"model_version": "x", "single_layer": {}, "recipes": {"a": {"l.0": 4, "l.1": 16}, "b": {"l.0": 1}}}"#;
        let config = Config::from_json(text, Some("a")).unwrap();
        assert_eq!(
            config.names,
            [(Name::Layer("l.0".into()), Scheme::palettes(4)), (Name::Layer("l.1".into()), Scheme::Keep)]
        );
        let error = Config::from_json(text, None).unwrap_err().to_string();
        assert!(error.contains("2 recipes") && error.contains("a, b"), "{error}");
        assert!(Config::from_json(text, Some("c")).unwrap_err().to_string().contains("no recipe \"c\""));
        assert_eq!(Config::from_json(r#"{"l.0": 6}"#, None).unwrap().names.len(), 1);
    }

    #[test]
    fn recipes_of_ours_have_schemes_by_their_short_names() {
        let text = r#"{"model": "x", "recipes": {"4.04": {"weights": {"a_weight": "4g16", "b_weight": "keep"}}, "l": {"a.0": 4}}}"#;
        let config = Config::from_json(text, Some("4.04")).unwrap();
        let scheme = |name: &str| name.parse::<Named>().unwrap().scheme();
        let name = |name: &str| Name::Pattern(name.into());
        assert_eq!(config.names, [(name("a_weight"), scheme("4g16")), (name("b_weight"), Scheme::Keep)]);
        assert_eq!(Config::from_json(text, Some("l")).unwrap().names[0].0, Name::Layer("a.0".into()));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("[]", "not an object"),
            (r#"{"globl": {}}"#, "globl"),
            (r#"{"global": {"mode": "kmeans"}}"#, "global: bits are missing"),
            (r#"{"weights": {"a": {"mode": "linear", "dtype": "int5"}}}"#, "weights.a: dtype \"int5\""),
            (r#"{"weights": {"a": "5"}}"#, "weights.a: \"5\" is no scheme"),
            (r#"{"l.0": 5}"#, "layer l.0: bits are"),
            (r#"{"op_types": {"conv": {"mode": "magic"}}}"#, "op_types.conv: mode \"magic\""),
        ] {
            let error = Config::from_json(text, None).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
