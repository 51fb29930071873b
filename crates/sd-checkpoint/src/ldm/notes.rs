//! What the user should know of a model in one file: what was assumed, and what was left aside.

use sd_spec::Role;

use super::network::Averages;
use super::parts::{CLIP_L_WIDTH, Layout, Part};
use super::predict::{Known, Predicted};
use super::single::SingleFile;
use super::tensors::Tensors;
use crate::Prediction;

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The file which says it, where the user gives one.
    pub(crate) settled_by: Option<String>,
    pub(crate) words: String,
}

fn note(words: String) -> Note {
    Note { settled_by: None, words }
}

fn until(file: &str, words: String) -> Note {
    Note { settled_by: Some(file.to_owned()), words }
}

/// All of them.
pub(crate) fn notes(file: &SingleFile) -> Vec<Note> {
    let shown = file.path().display().to_string();
    let mut notes: Vec<Note> = prediction(file, &shown).into_iter().collect();
    notes.extend(file.contents().parts.iter().filter_map(|part| rules(file, part, &shown)));
    if file.has_averages() && file.averages() == Averages::LeftAside {
        notes.push(note(format!(
            "{shown} holds an average (EMA) of its weights too, which is left aside; --ema takes it"
        )));
    }
    if file.networks().any(|(role, _)| role == Role::TextEncoder3) {
        notes.push(until(
            "tokenizer_3",
            format!("{shown} has no tokenizer of its T5 text encoder; --config DIR takes tokenizer_3 of a folder in diffusers layout"),
        ));
    }
    if let [first, ..] = file.leftover() {
        let (n, aside) = (file.leftover().len(), if file.leftover().len() == 1 { "is" } else { "are" });
        let tensors = if n == 1 { "tensor".to_owned() } else { "tensors".to_owned() };
        let more = some(&file.leftover()[1..]);
        notes.push(note(format!(
            "{shown} holds {n} {tensors} of nothing that is known here, which {aside} left aside: {first}{more}"
        )));
    }
    notes
}

/// A few more of a list.
fn some(keys: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: String = keys.iter().take(SHOWN).map(|key| format!(", {key}")).collect();
    if keys.len() > SHOWN { format!("{shown}, …") } else { shown }
}

/// What was guessed of the prediction.
fn prediction(file: &SingleFile, shown: &str) -> Option<Note> {
    let Predicted { prediction, known, .. } = file.predicted();
    file.prediction()?;
    let Known::Guessed(why) = known else { return None };
    let other = if *prediction == Prediction::Velocity { Prediction::Epsilon } else { Prediction::Velocity };
    Some(until(
        "scheduler/scheduler_config.json",
        format!(
            "{shown} does not say whether its model predicts noise or velocities; {prediction} is assumed ({why}), and \
             --prediction {other} says otherwise"
        ),
    ))
}

/// What the shapes of a network do not say, where it is not one of those that the rules are known for.
fn rules(file: &SingleFile, part: &Part, shown: &str) -> Option<Note> {
    let tensors = Tensors::new(file.weights(), part.prefix);
    let folder = part.role.spec().folder;
    let config = if part.role.spec().stands_alone { "config.json".to_owned() } else { format!("{folder}/config.json") };
    let assumed = |what: &str| {
        let words = format!(
            "{shown}: its {folder} is of widths that no known model has, and {what} are assumed; --config DIR says them"
        );
        Some(until(&config, words))
    };
    match part.layout {
        Layout::UNet(spelling) | Layout::ControlNet(spelling) => match tensors.dim(spelling.first_convolution(), 0) {
            Ok(320 | 384) => None,
            _ => assumed("the numbers of its heads and groups"),
        },
        Layout::Vae(_) => match (tensors.dim("encoder.conv_in.weight", 0), file.prediction()) {
            (Ok(128), Some(_)) => None,
            (Ok(128), None) => Some(until(
                &config,
                format!(
                    "{shown} does not say how latents are scaled: as those of {} are is assumed; --config DIR says it",
                    file.kind_name()
                ),
            )),
            _ => assumed("the numbers of its groups"),
        },
        Layout::Transformers(_) | Layout::OpenClip(_) => {
            let keys = ["text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"];
            let width = keys.iter().chain(&["token_embedding.weight"]).find_map(|key| tensors.dim(key, 1).ok());
            match width {
                Some(CLIP_L_WIDTH) if part.prefix.is_empty() => Some(until(
                    "model_index.json",
                    format!(
                        "{shown} is a text encoder that Stable Diffusion 1.x, XL and 3 have; that of {} is assumed, and \
                         --config DIR, a whole model's folder, says otherwise",
                        file.kind_name()
                    ),
                )),
                Some(width) if width.is_multiple_of(64) => None,
                _ => assumed("the numbers of its heads"),
            }
        }
        Layout::Mmdit(_) | Layout::TinyVae(_) | Layout::T5 => None,
    }
}
