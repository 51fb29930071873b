//! Alphas that an adapter's configuration says: PEFT's, which diffusers writes into the header of a file.
//!
//! Ranks stand there too, and are not read: those of the tensors are the ones that count.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Configurations by the network that they are for; "" is for whatever there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Config {
    by_network: BTreeMap<String, OfNetwork>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct OfNetwork {
    alpha: Option<f32>,
    alpha_pattern: Vec<(String, f32)>,
    /// Whether alpha is divided by the root of the rank (rsLoRA).
    is_rank_stabilised: bool,
}

/// The key of a safetensors header under which diffusers stores PEFT's configurations.
pub(super) const HEADER_KEY: &str = "lora_adapter_metadata";
/// Networks whose names come before a dot in that.
const NETWORKS: [&str; 5] = ["unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"];

impl Config {
    /// Reads what diffusers writes into the header, or PEFT's `adapter_config.json`.
    pub(super) fn read(json: &str) -> Result<Self, String> {
        let object: Map<String, Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let mut parts: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (key, value) in object {
            let (network, key) = match key.split_once('.') {
                Some((network, key)) if NETWORKS.contains(&network) => (network.to_owned(), key.to_owned()),
                _ => (String::new(), key),
            };
            parts.entry(network).or_default().insert(key, value);
        }
        let by_network = parts.into_iter().map(|(network, part)| Ok((network, OfNetwork::read(&part)?)));
        Ok(Self { by_network: by_network.collect::<Result<_, String>>()? })
    }

    /// What a module's product is multiplied with, where the configuration says it.
    pub(super) fn scale(&self, module: &str, rank: f32) -> Option<f32> {
        let of_network = module.split_once('.').and_then(|(network, rest)| Some((self.by_network.get(network)?, rest)));
        let (config, module) = match of_network {
            Some(found) => found,
            None => (self.by_network.get("")?, module),
        };
        config.scale(module, rank)
    }

    /// Whether any network's alphas are divided by the root of the rank.
    pub(super) fn is_rank_stabilised(&self) -> bool {
        self.by_network.values().any(|config| config.is_rank_stabilised)
    }
}

impl OfNetwork {
    fn read(part: &Map<String, Value>) -> Result<Self, String> {
        let number = |key: &str, value: &Value| match value.as_f64() {
            Some(number) if number.is_finite() => Ok(number as f32),
            _ => Err(format!("{key} is {value}, which is no number")),
        };
        let one = |key: &str| match part.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => number(key, value).map(Some),
        };
        let pattern = |key: &str| match part.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(values)) => {
                values.iter().map(|(name, value)| Ok((name.clone(), number(key, value)?))).collect()
            }
            Some(other) => Err(format!("{key} is {other}, which is no table")),
        };
        Ok(Self {
            alpha: one("lora_alpha")?,
            alpha_pattern: pattern("alpha_pattern")?,
            is_rank_stabilised: part.get("use_rslora") == Some(&Value::Bool(true)),
        })
    }

    fn scale(&self, module: &str, rank: f32) -> Option<f32> {
        // peft 0.21: a pattern stands for every module whose name ends with it, after a dot.
        let is_of = |pattern: &str| {
            let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
            module.strip_suffix(pattern).is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        let own = self.alpha_pattern.iter().find(|(pattern, _)| is_of(pattern)).map(|(_, alpha)| *alpha);
        let alpha = own.or(self.alpha)?;
        Some(alpha / if self.is_rank_stabilised { rank.sqrt() } else { rank })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphas_are_those_of_patterns_networks_or_the_whole() {
        let json = r#"{"unet.r": 4, "unet.lora_alpha": 6, "unet.alpha_pattern": {"mid.to_k": 3},
            "text_encoder.r": 3, "text_encoder.lora_alpha": 2,
            "text_encoder.use_rslora": true}"#;
        let config = Config::read(json).unwrap();
        assert_eq!(config.scale("unet.x.to_q", 4.0), Some(1.5));
        assert_eq!(config.scale("unet.a.mid.to_k", 2.0), Some(1.5));
        assert_eq!(config.scale("unet.a.amid.to_k", 2.0), Some(3.0));
        assert_eq!(config.scale("text_encoder.x", 3.0), Some(2.0 / 3f32.sqrt()));
        assert_eq!(config.scale("transformer.x", 3.0), None);
        assert!(config.is_rank_stabilised());
        let alone = Config::read(r#"{"r": 8, "lora_alpha": 16, "alpha_pattern": null}"#).unwrap();
        assert_eq!(alone.scale("base_model.model.x", 8.0), Some(2.0));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for bad in
            ["", "[]", r#"{"lora_alpha": "x"}"#, r#"{"alpha_pattern": 3}"#, r#"{"unet.alpha_pattern": {"x": null}}"#]
        {
            assert!(Config::read(bad).is_err(), "{bad}");
        }
    }
}
