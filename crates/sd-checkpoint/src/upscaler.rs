//! Upscalers of the ESRGAN kind, which are files of tensors without a configuration: all of it follows from names and shapes.
//!
//! The network is BasicSR's `RRDBNet`, which people have under three namings: that of BasicSR itself, as Real-ESRGAN's
//! files have it, that of ESRGAN's second version, and that of its first, where layers are numbers in one list.
//! What it deliberately does not do: read upscalers of other architectures, which it only knows by name.

mod names;
mod others;

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::{CheckpointError, Weights};
use names::Names;

/// Most doublings that are counted; whoever reads the configuration allows fewer.
const MAX_DOUBLINGS: usize = 16;

/// What upscalers are read, for those who have another.
pub const READ: &str = "upscalers are read that are ESRGAN or Real-ESRGAN (RRDBNet): RealESRGAN_x4plus, x4plus_anime_6B, x2plus and the like";

/// An upscaler in one file.
#[derive(Debug, Clone)]
pub(crate) struct Upscaler {
    weights: Weights,
    names: Names,
    config: Json,
    words: String,
}

impl Upscaler {
    /// Looks at a file's tensors; none where they are not an upscaler's.
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] for upscalers of other architectures, and for tensors whose shapes contradict each
    /// other.
    pub(crate) fn of(path: &Path, file: &Weights) -> Result<Option<Self>, CheckpointError> {
        let unsupported = |what: String| CheckpointError::Unsupported { path: path.to_owned(), what };
        let keys: Vec<&str> = file.iter().map(|(key, _)| key).collect();
        if let Some(other) = others::known(file, &keys) {
            return Err(unsupported(format!("this is {other}, which is not converted; {READ}")));
        }
        let Some(names) = Names::of(&keys) else { return Ok(None) };
        let mut weights = Weights::default();
        for (key, weight) in file.iter() {
            let name = names.name_of(key).unwrap_or_else(|| key.to_owned());
            if weights.insert(name.as_str(), weight.clone()).is_some() {
                return Err(unsupported(format!(
                    "it mixes namings: {key} is {name}, and so is another of its tensors"
                )));
            }
        }
        let shape = Shape::of(&weights).map_err(|what| unsupported(format!("it looks like an ESRGAN, but {what}")))?;
        let words = format!("an upscaler, ESRGAN (RRDBNet), {}", shape.words());
        Ok(Some(Self { weights, names, config: shape.config(), words }))
    }

    /// What a configuration would say of it.
    pub(crate) fn config(&self) -> Json {
        self.config.clone()
    }

    /// Its tensors, under the names of the network.
    pub(crate) fn weights(&self) -> Weights {
        self.weights.clone()
    }

    /// What it is in words.
    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// What the file calls a tensor of the network.
    pub(crate) fn key_of(&self, name: &str) -> String {
        self.names.key_of(name)
    }
}

/// What the shapes of its tensors say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    channels: usize,
    features: usize,
    growth: usize,
    n_blocks: usize,
    n_doublings: usize,
    unshuffle: usize,
}

impl Shape {
    /// `weights` are under the names of the network; that they are all there is looked at later.
    fn of(weights: &Weights) -> Result<Self, String> {
        let conv = |name: &str| -> Result<[usize; 2], String> {
            let shape = weights.get(name).ok_or_else(|| format!("has no {name}"))?.shape();
            match shape[..] {
                [c_out, c_in, 3, 3] if c_out > 0 && c_in > 0 => Ok([c_out, c_in]),
                _ => Err(format!("{name} has shape {shape:?}, where a convolution of 3x3 was expected")),
            }
        };
        let [features, entering] = conv("conv_first.weight")?;
        let [channels, _] = conv("conv_last.weight")?;
        let [growth, _] = conv("body.0.rdb1.conv1.weight")?;
        let has = |name: String| weights.get(&name).is_some();
        let n_blocks = (0..).take_while(|n| has(format!("body.{n}.rdb1.conv1.weight"))).count();
        let n_doublings = (1..=MAX_DOUBLINGS).take_while(|n| has(format!("conv_up{n}.weight"))).count();
        let unshuffle = (1..=8).find(|n| channels.checked_mul(n * n) == Some(entering)).ok_or_else(|| {
            format!("it takes {entering} channels and gives {channels}, of which no squares of pixels make the others")
        })?;
        let (enlarged, rest) = (1 << n_doublings, (1usize << n_doublings) % unshuffle);
        if rest != 0 {
            return Err(format!(
                "it makes one pixel of {unshuffle}x{unshuffle} and then {enlarged} of each along a side, and pictures do not \
                 come out whole"
            ));
        }
        Ok(Self { channels, features, growth, n_blocks, n_doublings, unshuffle })
    }

    /// With the keys of BasicSR's class, and two that it has other words for.
    fn config(&self) -> Json {
        json!({
            "_class_name": "RRDBNet",
            "num_ch": self.channels,
            "num_feat": self.features,
            "num_block": self.n_blocks,
            "num_grow_ch": self.growth,
            "num_upsample": self.n_doublings,
            "unshuffle": self.unshuffle,
        })
    }

    fn words(&self) -> String {
        let Self { features, growth, n_blocks, .. } = self;
        let factor = (1 << self.n_doublings) / self.unshuffle;
        format!("x{factor}, {n_blocks} blocks, {features} features, {growth} growth channels")
    }
}

#[cfg(test)]
mod tests;
