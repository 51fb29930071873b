//! Text encoders without their last layers ("CLIP skip"): what people draw with whose models were trained so.

use std::collections::BTreeMap;

use sd_spec::{Role, TextState};
use serde_json::Value;

use crate::{Adapter, Checkpoint, CheckpointError, Weights};

/// Text encoders of CLIP.
const ENCODERS: [Role; 2] = [Role::TextEncoder, Role::TextEncoder2];
/// Layers without `num_hidden_layers` in the configuration: transformers' default.
const LAYERS: u64 = 12;
/// What the names of a layer's weights begin with, in either spelling of transformers.
const PREFIXES: [&str; 2] = ["text_model.encoder.layers.", "encoder.layers."];

/// Leaves the last layers out, as an adapter: their weights are not there.
#[derive(Debug)]
pub struct ClipSkip {
    /// Layers that are left, by encoder.
    kept: BTreeMap<Role, u64>,
}

impl ClipSkip {
    /// The checkpoint whose text encoders of CLIP do without their last `n` layers; the final normalisation stays.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] where an encoder has fewer layers than that; otherwise as [`Checkpoint::config`].
    pub fn of(checkpoint: Checkpoint, n: usize) -> Result<Checkpoint, CheckpointError> {
        let (mut made, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for role in ENCODERS.into_iter().filter(|role| checkpoint.has(*role)) {
            let place = format!("{}/config.json", role.spec().folder);
            let mut config = checkpoint.config_json(role)?;
            let layers = config.get("num_hidden_layers").and_then(Value::as_u64).unwrap_or(LAYERS);
            // What stands before the first layer is a state too; before that there is none.
            let least = u64::from(checkpoint.family().spec().text_state == TextState::Penultimate);
            let left = layers.checked_sub(n as u64).filter(|left| *left >= least).ok_or_else(|| {
                CheckpointError::Adapter(format!("the {role} has {layers} layers, and {n} are to be skipped"))
            })?;
            config["num_hidden_layers"] = left.into();
            made.insert(place, config);
            kept.insert(role, left);
        }
        let root = checkpoint.root().to_owned();
        Ok(checkpoint.with_made(made, &root).with(Self { kept }))
    }
}

impl Adapter for ClipSkip {
    fn adapt(&self, role: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        let Some(&kept) = self.kept.get(&role) else { return Ok(()) };
        let layer = |key: &str| -> Option<u64> {
            let rest = PREFIXES.into_iter().find_map(|prefix| key.strip_prefix(prefix))?;
            rest.split_once('.')?.0.parse().ok()
        };
        let gone: Vec<String> = weights
            .iter()
            .filter(|(key, _)| layer(key).is_some_and(|layer| layer >= kept))
            .map(|(key, _)| key.to_owned())
            .collect();
        gone.iter().for_each(|key| drop(weights.remove(key)));
        Ok(())
    }
}
