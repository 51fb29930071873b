//! Mochi Diffusion: one line of `key: value; …` as the caption.
//!
//! A prompt may have anything in it, so only a known key behind `; ` ends a value.

use crate::field::Field;
use crate::made::Made;
use crate::tool::Tool;

/// Keys, the first of which begins the line.
const KEYS: &[(&str, Field)] = &[
    ("Include in Image", Field::Prompt),
    ("Exclude from Image", Field::Negative),
    ("Prompt", Field::Prompt),
    ("Negative", Field::Negative),
    ("Model", Field::Model),
    ("Steps", Field::Steps),
    ("Seed", Field::Seed),
    ("Scheduler", Field::Sampler),
    ("Guidance Scale", Field::Guidance),
    ("Guidance", Field::Guidance),
    ("Size", Field::Size),
    ("Upscaler", Field::HiresUpscaler),
    ("Generator", Field::Version),
];
/// Keys that it writes and nobody needs as a field.
const OTHERS: &[&str] = &["Date", "ML Compute Unit", "Safety Checker", "Starting Image", "ControlNet"];

/// Whether a text is one of Mochi Diffusion's.
pub(crate) fn is_it(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with("Include in Image:")
        || text.starts_with("Exclude from Image:")
        || text.contains("; Generator: Mochi Diffusion")
}

/// Reads the line.
pub(crate) fn parse(text: &str) -> Made {
    let mut made = Made::by(Tool::MochiDiffusion);
    for (key, value) in entries(text.trim()) {
        match KEYS.iter().find(|(name, _)| *name == key) {
            Some((_, field)) => made.put(*field, key, value),
            None if key.is_empty() => made.keep_wrong(key, value, "no key and value"),
            None => made.keep(key, value),
        }
    }
    // Drawn at the size that it has: an upscaler alone is no second pass.
    made
}

/// Keys and values: a prompt goes on behind a semicolon that no known key follows, everything else ends there.
fn entries(text: &str) -> Vec<(&str, &str)> {
    let mut entries: Vec<(&str, &str, usize)> = Vec::new();
    let mut from = 0;
    for at in text.match_indices("; ").map(|(at, _)| at).chain([text.len()]) {
        let part = &text[from..at];
        let keyed = part.trim_start().split_once(':').map(|(key, value)| (key, value.trim()));
        let is_in_prompt = entries.last().is_some_and(|(key, ..)| {
            KEYS.iter().any(|(name, field)| name == key && matches!(field, Field::Prompt | Field::Negative))
        });
        let is_known = |key: &str| KEYS.iter().any(|(name, _)| *name == key) || OTHERS.contains(&key);
        match keyed {
            Some((key, value)) if is_known(key) || !is_in_prompt => {
                let begin = from + part.find(':').unwrap_or_default() + 1;
                entries.push((key, value, begin));
            }
            _ => match entries.last_mut().filter(|_| is_in_prompt) {
                Some((_, value, begin)) => *value = text[*begin..at].trim(),
                None => entries.push(("", part.trim(), from)),
            },
        }
        from = (at + 2).min(text.len());
    }
    entries.into_iter().map(|(key, value, _)| (key, value)).collect()
}
