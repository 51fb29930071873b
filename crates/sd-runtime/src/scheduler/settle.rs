//! What a scheduler takes over from a file, and what it cannot.
//!
//! diffusers keeps the keys of other classes in the file, where they have no effect on the class that it names; that is so
//! here too, without a word. A scheduler that is asked for by name takes the file's noise schedule and its own algorithm:
//! what the file says of algorithms is left out with a warning where it would have changed the picture, and what it says
//! of how the model was trained is followed or refused.

use sd_spec::keys::{self, Refusal};
use serde_json::{Map, Value};

use super::config::{DOCUMENT, SchedulerConfig};
use super::entry::{SchedulerKind, Words};
use crate::config::{ConfigWarning, unknown_keys};
use crate::error::{Result, RuntimeError};

/// Keys whose `true` changes what any scheduler that has them draws.
const CHOICES: [&str; 5] =
    ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "thresholding"];

/// Refuses words for the noise schedule that mean nothing here, whatever the class.
pub(super) fn check_words(source: &Map<String, Value>) -> Result<()> {
    let words = ["prediction_type", "beta_schedule", "timestep_spacing", "final_sigmas_type"];
    let named = words.iter().filter_map(|key| source.get_key_value(*key)).map(|(k, v)| (k.clone(), v.clone()));
    let Some(refusal) = keys::DPM_SOLVER_MULTISTEP.refused(&named.collect()) else { return Ok(()) };
    let is_flow = refusal.value.as_str().is_some_and(|word| word.contains("flow"));
    let what = if is_flow { "; it is a flow-matching model's, which no scheduler here draws with" } else { "" };
    Err(RuntimeError::SchedulerConfig(format!(
        "{} {} is not implemented, only {}{what}",
        refusal.key,
        refusal.value,
        either(refusal.supported)
    )))
}

/// What the user should know of a file, whichever scheduler is built.
pub(super) fn warnings(class: &str, source: &Map<String, Value>) -> Vec<ConfigWarning> {
    let is_known = |key: &str| {
        SchedulerKind::ALL.iter().any(|kind| kind.entry().keys.answer(key).is_some()) || keys::is_scheduler_key(key)
    };
    let unknown: Vec<String> = source.keys().filter(|key| !is_known(key)).cloned().collect();
    let owner = if class.is_empty() { "diffusers" } else { class };
    let mut warnings: Vec<ConfigWarning> = unknown_keys(owner, DOCUMENT, &unknown).into_iter().collect();
    let own = SchedulerKind::ALL.into_iter().filter(|kind| kind.class_name() == class).flat_map(|k| k.entry().words);
    let absent = own.filter(|words| !source.contains_key(words.key)).filter_map(|words| words.absent);
    warnings.extend(absent.map(|words| ConfigWarning::new(DOCUMENT, words)));
    warnings
}

/// Refuses what the file's own scheduler cannot follow.
pub(super) fn check(config: &SchedulerConfig, kind: SchedulerKind) -> Result<()> {
    if let Some((key, value)) = (kind.entry().refuses)(config) {
        return Err(unsupported(kind, &format!("{key} {value}"), key));
    }
    match kind.entry().keys.refused(&config.source) {
        None => Ok(()),
        Some(Refusal { key, value, supported }) => {
            let meaning = words_of(kind, &key).map_or("", |words| words.meaning);
            Err(unsupported(kind, &format!("{meaning}{key} {value}, only {}", either(supported)), &key))
        }
    }
}

/// Leaves out of a configuration what a scheduler that was asked for by name has not.
///
/// # Errors
/// [`RuntimeError::SchedulerUnsupported`] for a noise schedule that it cannot follow.
pub(super) fn settle(config: &mut SchedulerConfig, kind: SchedulerKind) -> Result<()> {
    check_class(config, kind)?;
    while let Some(Refusal { key, value, supported }) = kind.entry().keys.refused(&config.source) {
        if keys::TRAINED_WITH.contains(&key.as_str()) {
            return Err(unsupported(kind, &format!("{key} {value}, only {}", either(supported)), &key));
        }
        config.source.remove(&key);
        let instead = words_of(kind, &key).map_or("it is left out", |words| words.instead);
        warn(config, format!("{key} {value} is not implemented; {kind} was asked for by name, and {instead}"));
    }
    settle_foreign(config, kind)
}

/// The same for keys that the scheduler does not have at all.
fn settle_foreign(config: &mut SchedulerConfig, kind: SchedulerKind) -> Result<()> {
    let lacks = |key: &str| kind.entry().keys.answer(key).is_none();
    let trained = keys::TRAINED_WITH.iter().find(|key| lacks(key) && is_on(key, config.source.get(**key)));
    if let Some(key) = trained {
        return Err(unsupported(kind, &format!("{key} {}", config.source[*key]), key));
    }
    if config.rescale_betas_zero_snr && lacks("rescale_betas_zero_snr") {
        return Err(unsupported(kind, "rescale_betas_zero_snr true", "rescale_betas_zero_snr"));
    }
    for key in CHOICES.into_iter().filter(|key| lacks(key)) {
        if config.source.remove(key).is_some_and(|value| is_on(key, Some(&value))) {
            warn(
                config,
                format!("{key} true is not followed: {kind}, which was asked for by name, has no such choice"),
            );
        }
    }
    Ok(())
}

/// Whether a value asks for something.
fn is_on(key: &str, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        // CogVideoX's factor.
        Some(value) if key == "snr_shift_scale" => value.as_f64() != Some(1.0),
        // DDPM's fixed variances change nothing but its own steps; a learned one is more outputs of the model.
        Some(value) if key == "variance_type" => value.as_str().is_none_or(|kind| kind.starts_with("learned")),
        Some(_) => true,
    }
}

/// Refuses models that were trained without betas, and says that a class is unknown.
fn check_class(config: &mut SchedulerConfig, kind: SchedulerKind) -> Result<()> {
    let class = config.class_name.clone();
    match keys::has_betas(&class) {
        Some(true) => Ok(()),
        Some(false) => Err(RuntimeError::SchedulerConfig(format!(
            "{class} is for models that were not trained with a schedule of betas, as flow-matching ones; {} cannot draw \
             with them",
            SchedulerKind::names()
        ))),
        None => {
            if !class.is_empty() {
                warn(
                    config,
                    format!("{class} is no scheduler of diffusers 0.42; {kind} takes the noise schedule as it is"),
                );
            }
            Ok(())
        }
    }
}

fn words_of(kind: SchedulerKind, key: &str) -> Option<&'static Words> {
    kind.entry().words.iter().find(|words| words.key == key)
}

fn warn(config: &mut SchedulerConfig, reason: String) {
    config.warnings.push(ConfigWarning::new(DOCUMENT, reason));
}

fn unsupported(kind: SchedulerKind, option: &str, key: &str) -> RuntimeError {
    let next = if keys::TRAINED_WITH.contains(&key) {
        "the model was trained for it, so a scheduler without it would draw noise".to_owned()
    } else {
        format!("a scheduler that is asked for by name does without: {}", SchedulerKind::names())
    };
    RuntimeError::SchedulerUnsupported { scheduler: kind.class_name(), option: option.to_owned(), next }
}

/// Values as prose.
fn either(values: &[&str]) -> String {
    values.join(" or ")
}

#[cfg(test)]
mod tests;
