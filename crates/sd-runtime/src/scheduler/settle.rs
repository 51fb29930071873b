//! What a scheduler takes over from a file, and what it cannot.
//!
//! diffusers keeps the keys of other classes in the file, where they have no effect on the class that it names; that is so
//! here too, without a word. A scheduler that is asked for by name takes the file's noise schedule and its own algorithm:
//! what the file says of algorithms is left out with a warning where it would have changed the picture, and what it says
//! of how the model was trained is followed or refused.

use sd_spec::keys::{self, Answer, Refusal};
use serde_json::{Map, Value};

use super::config::{DOCUMENT, PredictionType, SchedulerConfig};
use super::entry::{Family, SchedulerKind, Words};
use crate::config::{ConfigWarning, unknown_keys};
use crate::error::{Result, RuntimeError};

/// Keys whose `true` changes what any scheduler that has them draws.
const CHOICES: [&str; 5] =
    ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "thresholding"];

/// Writes down the betas that a class has where its files leave them out, so that another scheduler takes the same.
pub(super) fn add_betas(source: &mut Map<String, Value>) {
    let class = source.get("_class_name").and_then(Value::as_str).unwrap_or_default();
    let known = SchedulerKind::ALL.into_iter().find(|kind| kind.class_name() == class);
    let Some((start, end, schedule)) = known.and_then(|kind| kind.entry().betas) else { return };
    source.entry("beta_start").or_insert_with(|| start.into());
    source.entry("beta_end").or_insert_with(|| end.into());
    source.entry("beta_schedule").or_insert_with(|| schedule.into());
}

/// Refuses words for the noise schedule that mean nothing here, whatever the class.
pub(super) fn check_words(source: &Map<String, Value>) -> Result<()> {
    let words = ["prediction_type", "beta_schedule", "timestep_spacing", "final_sigmas_type"];
    let named = words.iter().filter_map(|key| source.get_key_value(*key)).map(|(k, v)| (k.clone(), v.clone()));
    let Some(refusal) = keys::ANY_SCHEDULER.refused(&named.collect()) else { return Ok(()) };
    Err(RuntimeError::SchedulerConfig(format!(
        "{} {} is not implemented, only {}",
        refusal.key,
        refusal.value,
        either(refusal.supported)
    )))
}

/// Whether a scheduler's noise levels can be chosen by name.
pub(super) fn has_levels(kind: SchedulerKind) -> bool {
    LEVELS.contains(&kind)
        || kind.entry().keys.answer("use_karras_sigmas").is_some() && kind.entry().family != Family::Flow
}

/// Schedulers in sigmas whose class in diffusers has no choice of them, and which k-diffusion walks through any.
const LEVELS: [SchedulerKind; 2] = [SchedulerKind::EulerAncestralDiscrete, SchedulerKind::Dpmpp2sAncestral];

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
    // Also where they were set by other means than a file.
    for (key, word) in
        [("prediction_type", config.prediction_type.word()), ("beta_schedule", config.beta_schedule.word())]
    {
        let Some(Answer::Only(supported)) = kind.entry().keys.answer(key) else { continue };
        let word = format!("\"{word}\"");
        if !supported.contains(&word.as_str()) {
            return Err(unsupported(kind, &format!("{key} {word}, only {}", either(supported)), key));
        }
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

/// What models of a file were trained with; `None` for a class that nobody knows.
fn family_of(config: &SchedulerConfig) -> Option<Option<Family>> {
    let class = &config.class_name;
    let known = SchedulerKind::ALL.into_iter().find(|kind| kind.class_name() == class);
    let is_flow = || config.source.get("use_flow_sigmas") == Some(&Value::Bool(true));
    match known.map(|kind| kind.entry().family) {
        Some(Family::BetasOrFlow) if is_flow() => Some(Some(Family::Flow)),
        Some(Family::BetasOrFlow) => Some(Some(Family::Betas)),
        Some(family) => Some(Some(family)),
        None => keys::has_betas(class).map(|has_betas| has_betas.then_some(Family::Betas)),
    }
}

/// Refuses models that were trained otherwise than a scheduler needs, and says that a class is unknown.
fn check_class(config: &mut SchedulerConfig, kind: SchedulerKind) -> Result<()> {
    let class = config.class_name.clone();
    let wanted = kind.entry().family;
    let refused = |advice: String| Err(RuntimeError::SchedulerConfig(advice));
    match family_of(config) {
        Some(Some(family)) => match (family, wanted) {
            (Family::Flow, Family::BetasOrFlow | Family::Flow) => {
                translate_flow(config, wanted);
                Ok(())
            }
            (Family::Betas, Family::BetasOrFlow) => Ok(()),
            (family, wanted) if family == wanted => Ok(()),
            (family, wanted) => refused(format!(
                "{class} is for models of {}, and {kind} draws with those of {}; choose {}",
                described(family),
                described(wanted),
                SchedulerKind::names_for(family)
            )),
        },
        Some(None) => refused(format!(
            "{class} is for models that were trained neither with a schedule of betas nor for flow matching as Stable \
             Diffusion 3; no scheduler here can draw with them"
        )),
        None if class.is_empty() => Ok(()),
        None => {
            warn(
                config,
                format!("{class} is no scheduler of diffusers 0.42; {kind} takes the noise schedule as it is"),
            );
            Ok(())
        }
    }
}

/// A family in words.
const fn described(family: Family) -> &'static str {
    match family {
        Family::Betas | Family::BetasOrFlow => "a schedule of betas, as Stable Diffusion 1.x, 2.x and XL",
        Family::Flow => "flow matching, as Stable Diffusion 3",
        Family::Edm => "preconditioned denoising (EDM)",
        Family::Sine => "a sine schedule",
    }
}

/// Says what a file says of flow matching in the keys of the scheduler that was asked for.
///
/// Flow matching's own schedulers call the shift `shift`; those of betas call it `flow_shift`, and must be told that there
/// are no betas.
fn translate_flow(config: &mut SchedulerConfig, wanted: Family) {
    let from_solver = config.source.contains_key("use_flow_sigmas");
    if wanted == Family::Flow {
        if let Some(shift) = config.source.remove("flow_shift").filter(|_| from_solver) {
            config.source.insert("shift".to_owned(), shift);
        }
        config.source.retain(|key, _| !keys::TRAINED_WITH.contains(&key.as_str()) || key == "num_train_timesteps");
    } else {
        if let Some(shift) = config.source.remove("shift").filter(|_| !from_solver) {
            config.source.insert("flow_shift".to_owned(), shift);
        }
        config.source.insert("use_flow_sigmas".to_owned(), true.into());
        config.source.insert("prediction_type".to_owned(), PredictionType::Flow.word().into());
        config.prediction_type = PredictionType::Flow;
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
