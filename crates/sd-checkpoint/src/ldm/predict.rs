//! What the denoiser of a file predicts: its own keys or metadata say so, its kind does, or its numbers let it be guessed.

use std::collections::HashMap;

use super::kinds::Kind;
use super::tensors::Tensors;
use crate::{Prediction, Weights};

/// How it is known what a denoiser predicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Somebody said it.
    Asked,
    /// All of its kind do.
    Kind,
    /// The file says it, here.
    Said(String),
    /// It is guessed, from this.
    Guessed(&'static str),
}

/// What a denoiser predicts, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Predicted {
    pub(crate) prediction: Prediction,
    pub(crate) known: Known,
    /// Whether its noise schedule ends at pure noise.
    pub(crate) ends_at_noise: bool,
}

/// The key that trainers of XL put into files of models that predict velocities.
const VELOCITY_KEY: &str = "v_pred";
/// And that of those whose noise schedule ends at pure noise.
const ZERO_SNR_KEY: &str = "ztsnr";

/// The step of the training that a file of PyTorch was saved at.
pub(crate) const STEP_KEY: &str = "global_step";

/// What the denoiser of a file predicts; `asked` overrides what the file says.
///
/// # Errors
/// For what no model of the kind predicts.
pub(crate) fn predicted(
    weights: &Weights,
    kind: Kind,
    denoiser: Option<Tensors>,
    metadata: &HashMap<String, String>,
    asked: Option<Prediction>,
) -> Result<Predicted, String> {
    let is_flow = kind == Kind::Sd3;
    if let Some(asked) = asked.filter(|&asked| (asked == Prediction::Flow) != is_flow) {
        let can = if is_flow { "flow" } else { "epsilon and v" };
        return Err(format!(
            "it is {}, of which there are only models that predict {can}, and not {asked}",
            kind.spec().name
        ));
    }
    let (prediction, known) = match asked {
        Some(asked) => (asked, Known::Asked),
        None if is_flow => (Prediction::Flow, Known::Kind),
        None => said(weights, kind, metadata).unwrap_or_else(|| guessed(kind, denoiser)),
    };
    Ok(Predicted { prediction, known, ends_at_noise: weights.get(ZERO_SNR_KEY).is_some() })
}

/// What the file says of itself.
fn said(weights: &Weights, kind: Kind, metadata: &HashMap<String, String>) -> Option<(Prediction, Known)> {
    if weights.get(VELOCITY_KEY).is_some() {
        return Some((Prediction::Velocity, Known::Said(format!("its key {VELOCITY_KEY}"))));
    }
    let said = |key: &str| Some((key.to_owned(), metadata.get(key)?.trim().to_lowercase()));
    if let Some((key, value)) = said("modelspec.prediction_type")
        && let Ok(prediction) = value.parse()
    {
        return Some((prediction, Known::Said(format!("its metadata {key}"))));
    }
    // Stability's step for the smaller of both, as diffusers reads it (`convert_from_ckpt.py`).
    if kind == Kind::Sd2 && said(STEP_KEY).is_some_and(|(_, step)| step == "875000") {
        return Some((Prediction::Epsilon, Known::Said(format!("its {STEP_KEY}"))));
    }
    let (key, architecture) = said("modelspec.architecture")?;
    // Stability's names: stable-diffusion-v2-512, stable-diffusion-v2-768-v.
    let rest = architecture.strip_prefix("stable-diffusion-v2")?;
    let prediction = if rest.contains("-v") { Prediction::Velocity } else { Prediction::Epsilon };
    rest.contains(['5', '7']).then(|| (prediction, Known::Said(format!("its metadata {key}"))))
}

/// What models of a kind predict; those of Stable Diffusion 2 differ, and nothing but their numbers tells.
fn guessed(kind: Kind, denoiser: Option<Tensors>) -> (Prediction, Known) {
    if kind != Kind::Sd2 {
        return (Prediction::Epsilon, Known::Kind);
    }
    let Some(tensors) = denoiser else { return (Prediction::Velocity, Known::Guessed("most do")) };
    if tensors.dim("input_blocks.0.0.weight", 1) != Ok(4) {
        return (Prediction::Epsilon, Known::Guessed("those that paint into pictures do"));
    }
    // ComfyUI tells the two apart by this tensor and this number (`supported_models.py`, SD20).
    const TENSOR: &str = "output_blocks.11.1.transformer_blocks.0.norm1.bias";
    const SPREAD: f64 = 0.09;
    match tensors.get(TENSOR).and_then(|weight| weight.stored()).and_then(|tensor| spread(&tensor.to_f32_vec())) {
        Some(spread) if spread > SPREAD => {
            (Prediction::Velocity, Known::Guessed("by the spread of a bias of the last transformer, as ComfyUI does"))
        }
        Some(_) => {
            (Prediction::Epsilon, Known::Guessed("by the spread of a bias of the last transformer, as ComfyUI does"))
        }
        None => (Prediction::Velocity, Known::Guessed("most do")),
    }
}

/// Standard deviation of all values.
fn spread(values: &[f32]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let square = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    (n > 0.0 && square.is_finite()).then(|| square.sqrt())
}

impl Predicted {
    /// How it is known, in words.
    pub(crate) fn source(&self, kind: &str) -> String {
        match &self.known {
            Known::Asked => "as was asked for".to_owned(),
            Known::Kind => format!("as models of {kind} do"),
            Known::Said(what) => format!("by {what}"),
            Known::Guessed(why) => format!("guessed: {why}"),
        }
    }
}
