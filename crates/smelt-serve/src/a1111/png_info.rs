//! `png-info`: what a picture says of how it was made.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::info::text_of;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::Json;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::input;

/// What settings mean where they do not say it.
const USUAL: [(&str, &str); 9] = [
    ("Clip skip", "1"),
    ("RNG", "GPU"),
    ("Schedule type", "Automatic"),
    ("Hires resize-1", "0"),
    ("Hires resize-2", "0"),
    ("Mask mode", "Inpaint masked"),
    ("Masked content", "original"),
    ("Inpaint area", "Whole picture"),
    ("Masked area padding", "32"),
];

pub(super) async fn png_info(
    State(app): State<Arc<App>>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    blocking(move || {
        let image = Fields::new(body).text("image")?;
        let image = image.ok_or_else(|| Fault::unprocessable("image: a picture in base64 is needed"))?;
        let given = input::picture("image", &image, &app.options.limits)?;
        let found = smelt::metadata::read_bytes(&given.bytes).map_err(|error| Fault::refused(&error))?;
        let info = text_of(&found);
        let others = found.texts.iter().filter(|text| text.text != info);
        let items: Map<String, Value> = others.map(|text| (text.keyword.clone(), text.text.clone().into())).collect();
        let parameters = parameters(&info);
        Ok(Answer(json!({ "info": info, "items": items, "parameters": parameters })))
    })
    .await
}

/// The settings of a text by their names.
fn parameters(text: &str) -> Map<String, Value> {
    let mut all = Map::new();
    if text.is_empty() {
        return all;
    }
    let mut put = |key: &str, value: String| drop(all.insert(key.to_owned(), value.into()));
    let (prompt, line) = match text.rsplit_once('\n') {
        Some((before, line)) if line.starts_with("Steps: ") => (before, line),
        _ if text.starts_with("Steps: ") => ("", text),
        _ => (text, ""),
    };
    let (prompt, negative) = match prompt.split_once("Negative prompt:") {
        Some((prompt, negative)) => (prompt, negative),
        None => (prompt, ""),
    };
    put("Prompt", prompt.trim().to_owned());
    put("Negative prompt", negative.trim().to_owned());
    for (key, value) in pairs(line) {
        match sides(&value) {
            Some((width, height)) => {
                put(&format!("{key}-1"), width);
                put(&format!("{key}-2"), height);
            }
            None => put(&key, value),
        }
    }
    for (key, value) in USUAL {
        if !all.contains_key(key) {
            all.insert(key.to_owned(), value.into());
        }
    }
    all
}

/// `512x768` as two numbers.
fn sides(value: &str) -> Option<(String, String)> {
    let (width, height) = value.split_once('x')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(width) && is_number(height)).then(|| (width.to_owned(), height.to_owned()))
}

/// `Key: value` by commas; values that have commas or colons are JSON texts.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = line;
    while let Some((key, behind)) = rest.split_once(": ") {
        let mut texts = serde_json::Deserializer::from_str(behind).into_iter::<String>();
        let (value, end) = match texts.next().filter(|_| behind.starts_with('"')) {
            Some(Ok(text)) => (text, texts.byte_offset()),
            _ => {
                let end = behind.find(", ").unwrap_or(behind.len());
                (behind[..end].trim().to_owned(), end)
            }
        };
        all.push((key.trim().to_owned(), value));
        rest = behind[end..].trim_start_matches([',', ' ']);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_their_names() {
        let text = "a fox,\nin snow\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 512x768, \
                    Lora hashes: \"a: 12, b: 34\", Version: v1.10.1";
        let found = parameters(text);
        for (key, value) in [
            ("Prompt", "a fox,\nin snow"),
            ("Negative prompt", "blurry"),
            ("Steps", "20"),
            ("Sampler", "Euler a"),
            ("Size-1", "512"),
            ("Size-2", "768"),
            ("Lora hashes", "a: 12, b: 34"),
            ("Version", "v1.10.1"),
            ("RNG", "GPU"),
        ] {
            assert_eq!(found[key], value, "{key}");
        }
        assert!(parameters("").is_empty());
        assert_eq!(parameters("only words")["Prompt"], "only words");
    }
}
