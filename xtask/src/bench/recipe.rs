//! A recipe of mixed bits for a UNet, as `smelt compress --config` reads it.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::synth::{self, PresetName};

/// The mean that recipes of Apple's mixed-bit palettization are known for.
const MEAN_BITS: f64 = 4.04;
/// Bits of a layer while the mean is below that, and above it; layers take turns.
const MORE: [u32; 2] = [6, 8];
const FEWER: [u32; 2] = [2, 4];

/// Writes the recipe and returns the mean over its weights.
pub(super) fn write(preset: PresetName, path: &Path) -> Result<f64> {
    let (recipe, mean) = mixed(synth::layers(preset, "unet"));
    fs::write(path, Value::Object(recipe).to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(mean)
}

/// Bits for each layer of a name and a number of weights, so that their mean is near [`MEAN_BITS`].
///
/// The largest come first, because what comes last decides how near.
fn mixed(mut layers: Vec<(String, usize)>) -> (Map<String, Value>, f64) {
    layers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let (mut recipe, mut n_bits, mut n_weights) = (Map::new(), 0.0, 0.0);
    let (mut more, mut fewer) = (MORE.into_iter().cycle(), FEWER.into_iter().cycle());
    for (name, n) in layers {
        let choices = if n_bits <= MEAN_BITS * n_weights { &mut more } else { &mut fewer };
        let bits = choices.next().unwrap_or_default();
        n_bits += f64::from(bits) * n as f64;
        n_weights += n as f64;
        recipe.insert(name, bits.into());
    }
    (recipe, n_bits / n_weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_of_a_real_unet_has_the_mean_and_all_bits() {
        let (recipe, mean) = mixed(synth::layers(PresetName::Sdxl, "unet"));
        assert!((mean - MEAN_BITS).abs() < 0.005, "{mean}");
        for bits in MORE.into_iter().chain(FEWER) {
            let n = recipe.values().filter(|value| value.as_u64() == Some(bits.into())).count();
            assert!(n > recipe.len() / 10, "{n} layers of {} have {bits} bits", recipe.len());
        }
    }
}
