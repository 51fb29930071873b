//! What the denoiser of a file predicts: its own keys or metadata say so, its kind does, or its numbers let it be guessed.

use std::collections::HashMap;

use super::kinds::Kind;
use super::spelling::Spelling;
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

/// What Stability's model specification says, `epsilon` or `v`, and the name that it has for the kind of model.
const PREDICTION: &str = "modelspec.prediction_type";
pub(crate) const ARCHITECTURE: &str = "modelspec.architecture";
/// What sd-scripts says of a training.
const VELOCITY: &str = "ss_v_parameterization";

/// The step of the training that a file of PyTorch was saved at.
pub(crate) const STEP_KEY: &str = "global_step";

/// What the denoiser of a file predicts; `asked` overrides what the file says.
///
/// # Errors
/// For what no model of the kind predicts.
pub(crate) fn predicted(
    weights: &Weights,
    kind: Kind,
    denoiser: Option<(Tensors, Spelling)>,
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
        None => match said(weights, kind, metadata)? {
            Some(said) => said,
            None => guessed(kind, denoiser),
        },
    };
    let ends_at_noise = weights.get(ZERO_SNR_KEY).is_some() || is_true(metadata, "ss_zero_terminal_snr") == Some(true);
    Ok(Predicted { prediction, known, ends_at_noise })
}

/// What sd-scripts says of a training, in Python's words.
fn is_true(metadata: &HashMap<String, String>, key: &str) -> Option<bool> {
    match &*metadata.get(key)?.trim().to_lowercase() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What the file says of itself, the surest first: a key among its tensors, the metadata that name a prediction, those of
/// sd-scripts, then what names the model.
///
/// # Errors
/// For a prediction that no model of the kind has, or that is not known.
fn said(
    weights: &Weights,
    kind: Kind,
    metadata: &HashMap<String, String>,
) -> Result<Option<(Prediction, Known)>, String> {
    if weights.get(VELOCITY_KEY).is_some() {
        return Ok(Some((Prediction::Velocity, Known::Said(format!("its key {VELOCITY_KEY}")))));
    }
    let text = |key: &str| metadata.get(key).map(|value| value.trim().to_lowercase()).filter(|text| !text.is_empty());
    let by = |prediction, key: &str| Ok(Some((prediction, Known::Said(format!("its metadata {key}")))));
    if let Some(value) = text(PREDICTION) {
        return match value.parse() {
            Ok(prediction @ (Prediction::Epsilon | Prediction::Velocity)) => by(prediction, PREDICTION),
            _ => Err(format!(
                "its metadata {PREDICTION} says {value:?}, which is not known of {}; --prediction epsilon or v says \
                 what it predicts",
                kind.spec().name
            )),
        };
    }
    if let Some(is_velocity) = is_true(metadata, VELOCITY) {
        return by(if is_velocity { Prediction::Velocity } else { Prediction::Epsilon }, VELOCITY);
    }
    if kind != Kind::Sd2 {
        return Ok(None);
    }
    // Stability's step for the smaller of both, as diffusers reads it (`convert_from_ckpt.py`).
    if text(STEP_KEY).is_some_and(|step| step == "875000") {
        return Ok(Some((Prediction::Epsilon, Known::Said(format!("its {STEP_KEY}")))));
    }
    // Stability's names: stable-diffusion-v2-512, stable-diffusion-v2-768-v.
    let architecture = text(ARCHITECTURE).unwrap_or_default();
    match architecture.strip_prefix("stable-diffusion-v2").filter(|rest| rest.contains(['5', '7'])) {
        Some(rest) if rest.contains("-v") => by(Prediction::Velocity, ARCHITECTURE),
        Some(_) => by(Prediction::Epsilon, ARCHITECTURE),
        None => Ok(None),
    }
}

/// What models of a kind predict; those of Stable Diffusion 2 differ (2.x-base: noise, 2.x: velocities), and where their file
/// does not say it, nothing but their numbers tells.
///
/// | program | how it tells |
/// |---|---|
/// | ComfyUI, and so we | the spread of one bias, which every file has |
/// | Automatic1111 | runs the UNet on a picture of ones, and looks whether the mean of the output lies below −1 |
/// | diffusers | `global_step` 875000 is 2.x-base, else what the caller says |
fn guessed(kind: Kind, denoiser: Option<(Tensors, Spelling)>) -> (Prediction, Known) {
    if kind != Kind::Sd2 {
        return (Prediction::Epsilon, Known::Kind);
    }
    let Some((tensors, spelling)) = denoiser else { return (Prediction::Velocity, Known::Guessed("most do")) };
    if tensors.dim(spelling.first_convolution(), 1) != Ok(4) {
        return (Prediction::Epsilon, Known::Guessed("those that paint into pictures do"));
    }
    // ComfyUI tells the two apart by this tensor and this number (`supported_models.py`, SD20).
    const SPREAD: f64 = 0.09;
    /// A bias has 320 numbers.
    const MAX_BIAS_BYTES: u64 = 1 << 16;
    let bias = tensors.get(spelling.last_transformer()).filter(|weight| weight.n_bytes() <= MAX_BIAS_BYTES);
    match bias.and_then(|weight| weight.stored()).and_then(|tensor| spread(&tensor.to_f32_vec())) {
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
