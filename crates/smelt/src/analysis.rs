//! What each way to store each weight costs at the output of a model: the file that `smelt analyse` writes, and that
//! recipes are made of.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, refuse};

/// The form of the file.
pub(crate) const VERSION: u32 = 1;

/// What was measured of all weights of a model, or of a shard of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// Form of the file: 1.
    pub version: u32,
    /// Who measured.
    pub software: String,
    /// Name of the model.
    pub model: String,
    /// What the model was given.
    pub inputs: AnalysisInputs,
    /// Ways to store a weight that were looked at.
    pub schemes: Vec<String>,
    /// Those that were measured at the outputs of the model.
    pub measured: Vec<String>,
    /// Mean square of the elements of the clean outputs.
    pub signal: f64,
    /// Largest magnitude among them.
    pub peak: f64,
    /// Which part of the weights this is; all of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The weights that can be compressed, in the order of the program.
    pub weights: Vec<AnalysedWeight>,
}

/// What a model was given while it was analysed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysisInputs {
    /// Whether they are of real runs (`smelt calibrate`) or random numbers.
    pub source: InputSource,
    /// How many samples.
    pub samples: usize,
    /// The first bytes of the SHA-256 of what was given, so that analyses of other inputs are not put together.
    pub digest: String,
}

/// Where inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputSource {
    /// Real runs of a pipeline.
    Calibration,
    /// Random numbers, which no text and no half-denoised picture looks like.
    Random,
}

/// A part of the weights; counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Which one.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

/// A weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysedWeight {
    /// Name in the program.
    pub name: String,
    /// Types of the operations that read it.
    pub readers: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Bytes that it takes as it is.
    pub bytes: u64,
    /// The ways to store it that were looked at, from the fewest bytes on.
    pub choices: Vec<Choice>,
}

/// A way to store a weight, when all others stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Its short name, a [`mil_compress::Named`].
    pub scheme: String,
    /// Bytes that the weight takes then, palettes and scales too.
    pub bytes: u64,
    /// Mean square of the difference that it makes at the elements of the model's outputs.
    pub loss: f64,
    /// Whether that was measured at the outputs, or follows from the error at the output of the weight's own operation.
    pub measured: bool,
}

impl Analysis {
    /// Reads a whole analysis or a shard.
    ///
    /// # Errors
    /// For files that are none, or of another form.
    pub fn read(path: &Path) -> Result<Self> {
        let data = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        crate::file::refuse_kind(path, &data, None)?;
        let analysis: Self =
            serde_json::from_slice(&data).with_context(|| format!("{} is no analysis of Smelt's", path.display()))?;
        if analysis.version != VERSION {
            refuse!("{} has form {} of analyses; this Smelt reads form {VERSION}", path.display(), analysis.version);
        }
        Ok(analysis)
    }

    /// The file's text: the same for the same analysis.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("an analysis as JSON")?;
        text.push('\n');
        Ok(text)
    }
}
