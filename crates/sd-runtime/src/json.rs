//! JSON as Python writes it.
//!
//! Python's `json` prints `Infinity`, `-Infinity` and `NaN`, which are no JSON; here they read as null.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Result, RuntimeError};

/// Parses a document; `what` names it in errors.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    let strict = serde_json::from_str(text);
    let parsed = match strict {
        Err(_) if text.contains("Infinity") || text.contains("NaN") => serde_json::from_str(&null_non_numbers(text)),
        strict => strict,
    };
    parsed.map_err(|source| RuntimeError::Json { what: what.to_owned(), source })
}

/// Reads an object of known keys; a `null` counts as the key's absence, as diffusers and transformers treat it.
///
/// # Errors
/// [`RuntimeError::Json`], which names the key whose value does not fit.
pub(crate) fn from_object<T: DeserializeOwned>(what: &str, object: &Map<String, Value>) -> Result<T> {
    let present = object.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone()));
    let present: Map<String, Value> = present.collect();
    serde_json::from_value(Value::Object(present.clone())).map_err(|source| {
        let alone =
            |(key, value): (&String, &Value)| Value::Object([(key.clone(), value.clone())].into_iter().collect());
        let is_wrong = |entry: &(&String, &Value)| serde_json::from_value::<T>(alone(*entry)).is_err();
        let key = present.iter().find(is_wrong).map_or_else(String::new, |(key, _)| format!(": {key}"));
        RuntimeError::Json { what: format!("{what}{key}"), source }
    })
}

/// Replaces the three words by `null` wherever they stand outside a string.
fn null_non_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        if !in_string {
            let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word));
            if let Some(word) = word {
                out.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
        }
        let mut taken = c.len_utf8();
        if c == '"' {
            in_string = !in_string;
        } else if c == '\\' && in_string {
            taken += rest[taken..].chars().next().map_or(0, char::len_utf8);
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_infinities_read_as_null() {
        let text = r#"{"a": -Infinity, "b": [NaN, 1], "c": "a \"NaN\" é"}"#;
        let value: serde_json::Value = parse("test", text).unwrap();
        assert_eq!(value, serde_json::json!({"a": null, "b": [null, 1], "c": "a \"NaN\" é"}));
    }

    #[test]
    fn nulls_are_absent_and_a_wrong_value_is_named_by_its_key() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(default)]
        struct Pair {
            a: u32,
            b: u32,
        }
        impl Default for Pair {
            fn default() -> Self {
                Self { a: 1, b: 2 }
            }
        }
        let read = |text: &str| from_object::<Pair>("x.json", &parse("x.json", text).unwrap());
        assert_eq!(read(r#"{"a": null, "b": 5, "c": "d"}"#).unwrap(), Pair { a: 1, b: 5 });
        assert!(read(r#"{"a": 3, "b": "five"}"#).unwrap_err().to_string().starts_with("x.json: b: "));
    }

    #[test]
    fn broken_json_is_an_error_that_names_the_document() {
        let error = parse::<serde_json::Value>("scheduler_config.json", "{\"a\": NaN").unwrap_err();
        assert!(error.to_string().starts_with("scheduler_config.json: "), "{error}");
    }
}
