//! Settings that are JSON: tables of names for fields, and what no table knows by its path.

use serde_json::{Map, Value};

use crate::field::Field;
use crate::made::{Lora, Made};

/// Names of one tool, parts joined by dots, and the fields that they are.
pub(crate) type Table = &'static [(&'static str, Field)];

/// Parses JSON, with the bare `NaN` and `Infinity` that Python writes: they become texts.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).or_else(|error| match without_nan(text) {
        Some(mended) => serde_json::from_str(&mended).map_err(|error| error.to_string()),
        None => Err(error.to_string()),
    })
}

/// The text with a text for what is no number; none if there is nothing of the kind outside of texts.
fn without_nan(text: &str) -> Option<String> {
    let mut mended = String::with_capacity(text.len());
    let (mut rest, mut is_changed) = (text, false);
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let not_a_number = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word));
        let taken = match not_a_number {
            Some(word) => {
                is_changed = true;
                mended.extend(["\"", word, "\""]);
                word.len()
            }
            None => {
                let taken = if rest.starts_with('"') { quoted_bytes(rest) } else { 1 };
                mended.push_str(&rest[..taken]);
                taken
            }
        };
        rest = &rest[taken..];
    }
    mended.push_str(rest);
    is_changed.then_some(mended)
}

/// Bytes of the text in quotes that this begins with.
fn quoted_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A value as text: a text as it is, everything else as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts an object's values into the fields that the table says, and keeps the others by their path.
pub(crate) fn fill(made: &mut Made, object: Map<String, Value>, table: Table) {
    each_leaf("", object, &mut |path, value| match field(path, table) {
        Some(field) if value.is_array() || value.is_object() => {
            made.keep_wrong(path, value.to_string(), format!("no single value for {field:?}"));
        }
        // Width and height are one field in two parts.
        Some(field) if made.has(field) => made.keep_wrong(path, text(value), "given again, with another value"),
        Some(field) => made.put(field, path, &text(value)),
        None => made.keep(path, text(value)),
    });
}

/// The same, but what is there already stays, and what differs from that is kept. Paths get a prefix.
pub(crate) fn fill_missing(made: &mut Made, prefix: &str, object: Map<String, Value>, table: Table) {
    // Width and height are one field, so what is there is asked before any is put.
    let missing: Vec<Field> = table.iter().map(|(_, field)| *field).filter(|field| !made.has(*field)).collect();
    each_leaf("", object, &mut |path, value| match field(path, table) {
        Some(field) if missing.contains(&field) => made.put(field, &format!("{prefix}.{path}"), &text(value)),
        Some(field) if is_same(made, field, &text(value)) => {}
        Some(_) => made.keep_wrong(format!("{prefix}.{path}"), text(value), "given again, with another value"),
        None => made.keep(format!("{prefix}.{path}"), text(value)),
    });
}

/// Whether a field has this value, however a number is written; an empty text says nothing.
fn is_same(made: &Made, field: Field, value: &str) -> bool {
    let there = made.get(field).unwrap_or_default();
    let number = |text: &str| text.parse::<f64>().ok();
    there == value || value.trim().is_empty() || number(&there).is_some_and(|there| Some(there) == number(value))
}

fn field(path: &str, table: Table) -> Option<Field> {
    table.iter().find(|(name, _)| *name == path).map(|(_, field)| *field)
}

/// Calls for every value that is no object, with its path; nulls and empty objects say nothing.
fn each_leaf(prefix: &str, object: Map<String, Value>, call: &mut impl FnMut(&str, &Value)) {
    for (key, value) in object {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Null => {}
            Value::Object(inner) => each_leaf(&path, inner, call),
            value => call(&path, &value),
        }
    }
}

/// Keeps all of an object by path.
pub(crate) fn keep(made: &mut Made, prefix: &str, value: Value) {
    match value {
        Value::Null => {}
        Value::Object(object) => each_leaf(prefix, object, &mut |path, value| made.keep(path, text(value))),
        other => made.keep(prefix, text(&other)),
    }
}

/// Takes a list out of an object; anything else under its name stays there.
pub(crate) fn take_array(object: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match object.get(key) {
        Some(Value::Array(_)) => match object.shift_remove(key) {
            Some(Value::Array(array)) => array,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The value at the end of a path.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// Takes a text out of an object; what is no text stays there.
pub(crate) fn take_text(object: &mut Value, paths: &[&str]) -> Option<String> {
    let path = paths.iter().find(|path| at(object, path).is_some_and(Value::is_string))?;
    take(object, &[path]).map(|value| text(&value))
}

/// Takes a number out of an object; what is no number stays there.
pub(crate) fn take_number(object: &mut Value, path: &str) -> Option<f64> {
    at(object, path)?.as_f64()?;
    take(object, &[path])?.as_f64()
}

/// Keeps the rest of a ControlNet's object, as what else is said of it.
pub(crate) fn rest(entry: Value) -> Vec<(String, String)> {
    let mut rest = Made::default();
    keep(&mut rest, "", entry);
    rest.unknown.into_iter().map(|unknown| (unknown.key, unknown.value)).collect()
}

/// Takes the value at a path out of an object, first of several paths.
pub(crate) fn take(object: &mut Value, paths: &[&str]) -> Option<Value> {
    for path in paths {
        let (folder, key) = path.rsplit_once('.').map_or((None, *path), |(folder, key)| (Some(folder), key));
        let mut inner = &mut *object;
        let mut is_there = true;
        for part in folder.into_iter().flat_map(|folder| folder.split('.')) {
            match inner.get(part).is_some() {
                true => inner = &mut inner[part],
                false => {
                    is_there = false;
                    break;
                }
            }
        }
        let found = inner.as_object_mut().filter(|_| is_there).and_then(|inner| inner.shift_remove(key));
        if let Some(value) = found.filter(|value| !value.is_null()) {
            return Some(value);
        }
    }
    None
}

/// Adds a LoRA from an object; whatever else that says is kept.
pub(crate) fn lora(made: &mut Made, mut entry: Value, names: &[&str], weights: &[&str]) {
    let Some(name) = take(&mut entry, names) else { return keep_lora(made, entry) };
    let weight = take(&mut entry, weights);
    let name = text(&name);
    if let Some(weight) = weight.as_ref().filter(|weight| weight.as_f64().is_none()) {
        made.keep_wrong(format!("LoRA {name}"), text(weight), "its weight is not a number");
    }
    made.add_lora(Lora { name: name.clone(), weight: weight.and_then(|weight| weight.as_f64()), ..Lora::default() });
    keep(made, &format!("LoRA {name}"), entry);
}

fn keep_lora(made: &mut Made, entry: Value) {
    made.keep_wrong("LoRA", entry.to_string(), "it has no name");
}
