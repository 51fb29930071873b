//! `png-info`: what a picture says of how it was made.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde_json::{Map, Value, json};
use smelt::metadata::parameters_apart;

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
    let (prompt, negative, settings) = parameters_apart(text);
    put("Prompt", prompt);
    put("Negative prompt", negative);
    for (key, value) in settings {
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
