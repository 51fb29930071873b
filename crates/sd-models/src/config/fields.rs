//! Reads single values out of an untrusted JSON object, with errors that name key and value.
//!
//! `null` counts as absent, as in diffusers, but for the keys that a table says otherwise of.
//! What becomes of each key stands in a table of `sd-spec`: values that it refuses are refused when the object is parsed,
//! and reading a key that has no row there, or one without effect, is a defect that every debug build finds.

use std::cell::RefCell;
use std::collections::BTreeSet;

use sd_spec::keys::{Answer, Table};
use serde_json::{Map, Value};

use super::Resolution;
use crate::{ModelError, Role};

/// A real `config.json` has one or two kilobytes.
const CONFIG_BYTES_LIMIT: usize = 1 << 20;

/// Widest layer that is accepted, four times what any released model has.
pub(super) const MAX_CHANNELS: usize = 1 << 16;
/// Most transformer layers in one stack; CLIP bigG has 32.
pub(super) const MAX_LAYERS: usize = 64;
/// Most residual blocks on one level.
pub(super) const MAX_RESNETS: usize = 8;
/// Most resolution levels; each halves the picture.
pub(super) const MAX_BLOCKS: usize = 8;
/// Most token ids; far more than any tokenizer has.
pub(super) const MAX_VOCABULARY: usize = 1 << 24;
/// Longest side of a latent or picture.
pub(super) const MAX_SIDE: usize = 1 << 16;

/// One JSON object of a configuration.
///
/// Public because a [`Configuration`](super::Configuration) reads it; only this crate can make one, so only it implements that.
pub struct Fields {
    role: Role,
    /// Keys of the enclosing objects, each followed by a dot.
    prefix: String,
    map: Map<String, Value>,
    table: Table,
    /// Keys that were asked for, for the test that every key that is followed is.
    read: RefCell<BTreeSet<String>>,
}

/// Depths of a block's transformers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Depths {
    /// The same after each layer.
    All(usize),
    /// One for each layer.
    Each(Vec<usize>),
}

impl Depths {
    /// Whether there is a depth for each of `n` layers, and none beside.
    pub(super) const fn is_for(&self, n: usize) -> bool {
        match self {
            Self::All(_) => true,
            Self::Each(depths) => depths.len() == n,
        }
    }

    /// The depth after a layer; 1 where there is none.
    pub(super) fn of(&self, layer: usize) -> usize {
        match self {
            Self::All(depth) => *depth,
            Self::Each(depths) => depths.get(layer).copied().unwrap_or(1),
        }
    }
}

impl Fields {
    /// Parses an object; values that the table refuses are refused here.
    pub(super) fn parse(role: Role, json: &[u8], table: Table) -> Result<Self, ModelError> {
        if json.len() > CONFIG_BYTES_LIMIT {
            return Err(ModelError::ConfigTooLarge { role, bytes: json.len(), limit: CONFIG_BYTES_LIMIT });
        }
        let map = serde_json::from_slice(json).map_err(|source| ModelError::ConfigSyntax { role, source })?;
        Self::new(role, String::new(), map, table)
    }

    fn new(role: Role, prefix: String, map: Map<String, Value>, table: Table) -> Result<Self, ModelError> {
        let fields = Self { role, prefix, map, table, read: RefCell::default() };
        match table.refused(&fields.map) {
            None => Ok(fields),
            Some(refusal) => {
                let supported: Vec<&str> = refusal.supported.iter().map(|value| value.trim_matches('"')).collect();
                Err(fields.unsupported(&refusal.key, &refusal.value, &supported.join(", ")))
            }
        }
    }

    /// The object under `key`, whose keys are answered by another table.
    pub(super) fn nested(&self, key: &str, table: Table) -> Result<Self, ModelError> {
        match self.required(key)? {
            Value::Object(map) => Self::new(self.role, format!("{}{key}.", self.prefix), map.clone(), table),
            other => Err(self.invalid(key, other, "an object")),
        }
    }

    /// Keys that the table does not know, with the keys of the objects around them.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.table.unknown(&self.map).into_iter().map(|key| self.full(&key)).collect()
    }

    /// Keys that the table says are followed, and that nobody asked for.
    #[cfg(test)]
    pub(super) fn unread(&self) -> Vec<&'static str> {
        let read = self.read.borrow();
        let is_unread = |(key, answer): &(&'static str, Answer)| *answer == Answer::Followed && !read.contains(*key);
        self.table.keys().filter(is_unread).map(|(key, _)| key).collect()
    }

    /// A required size from 1 to `max`.
    pub(super) fn size(&self, key: &str, max: usize) -> Result<usize, ModelError> {
        self.as_size(key, self.required(key)?, 1, max)
    }

    /// A size from 1 to `max`, or `default` when absent.
    pub(super) fn size_or(&self, key: &str, max: usize, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(key, max)?.unwrap_or(default))
    }

    /// A size from 1 to `max`, if present.
    pub(super) fn optional_size(&self, key: &str, max: usize) -> Result<Option<usize>, ModelError> {
        self.get(key).map(|value| self.as_size(key, value, 1, max)).transpose()
    }

    /// A count from 0 to `max`, or `default` when absent.
    pub(super) fn count_or(&self, key: &str, max: usize, default: usize) -> Result<usize, ModelError> {
        self.get(key).map_or(Ok(default), |value| self.as_size(key, value, 0, max))
    }

    /// A required list of 1 to `max_len` sizes, each from 1 to `max`.
    pub(super) fn sizes(&self, key: &str, max: usize, max_len: usize) -> Result<Vec<usize>, ModelError> {
        let value = self.required(key)?;
        match value {
            Value::Array(items) if (1..=max_len).contains(&items.len()) => {
                items.iter().map(|item| self.as_size(key, item, 1, max)).collect()
            }
            _ => Err(self.invalid(key, value, &format!("a list of 1 to {max_len} sizes"))),
        }
    }

    /// One size for all of `n` blocks, or a list with one size per block; absent gives `default`.
    pub(super) fn size_per_block(
        &self,
        key: &str,
        max: usize,
        n: usize,
        default: Option<usize>,
    ) -> Result<Vec<usize>, ModelError> {
        let value = match (self.get(key), default) {
            (Some(value), _) => value,
            (None, Some(default)) => return Ok(vec![default; n]),
            (None, None) => return Err(self.missing(key)),
        };
        match value {
            Value::Array(items) if items.len() == n => {
                items.iter().map(|item| self.as_size(key, item, 1, max)).collect()
            }
            Value::Array(_) => Err(self.invalid(key, value, &format!("one size or a list of {n} (one per block)"))),
            single => Ok(vec![self.as_size(key, single, 1, max)?; n]),
        }
    }

    /// Depths of transformers: one for all of `n` blocks, or a list with one per block, which may be a list with one per
    /// layer; 1 where absent.
    pub(super) fn depths_per_block(&self, key: &str, max: usize, n: usize) -> Result<Vec<Depths>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(vec![Depths::All(1); n]) };
        let single = |value: &Value| Ok(Depths::All(self.as_size(key, value, 0, max)?));
        let of_block = |value: &Value| match value {
            Value::Array(layers) => {
                Ok(Depths::Each(layers.iter().map(|depth| self.as_size(key, depth, 0, max)).collect::<Result<_, _>>()?))
            }
            depth => single(depth),
        };
        match value {
            Value::Array(items) if items.len() == n => items.iter().map(of_block).collect(),
            Value::Array(_) => Err(self.invalid(key, value, &format!("one depth or a list of {n} (one per block)"))),
            depth => Ok(vec![single(depth)?; n]),
        }
    }

    /// A list of different numbers from 0 to `n`, exclusive; absent is none.
    pub(super) fn indices(&self, key: &str, n: usize) -> Result<Vec<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let expected = || format!("a list of different numbers below {n}");
        let items = value.as_array().ok_or_else(|| self.invalid(key, value, &expected()))?;
        let index = |item: &Value| item.as_u64().and_then(|i| usize::try_from(i).ok()).filter(|i| *i < n);
        let found: Option<BTreeSet<usize>> = items.iter().map(index).collect();
        let all = found.filter(|found| found.len() == items.len());
        Ok(all.ok_or_else(|| self.invalid(key, value, &expected()))?.into_iter().collect())
    }

    /// A side length, or `[height, width]`.
    pub(super) fn resolution(&self, key: &str) -> Result<Option<Resolution>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let [height, width] = match value {
            Value::Array(pair) if pair.len() == 2 => [&pair[0], &pair[1]],
            Value::Array(_) => return Err(self.invalid(key, value, "a side or [height, width]")),
            side => [side, side],
        };
        Ok(Some(Resolution {
            height: self.as_size(key, height, 1, MAX_SIDE)?,
            width: self.as_size(key, width, 1, MAX_SIDE)?,
        }))
    }

    /// A required finite number above zero.
    pub(super) fn positive(&self, key: &str) -> Result<f64, ModelError> {
        self.required(key)?;
        self.positive_or(key, 1.0)
    }

    /// A finite number above zero, or `default` when absent.
    pub(super) fn positive_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        self.number_where(key, default, "a finite number above 0", |x| x > 0.0)
    }

    /// A finite number of at least zero, or `default` when absent.
    pub(super) fn non_negative_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        self.number_where(key, default, "a finite number of at least 0", |x| x >= 0.0)
    }

    /// A finite number, or `default` when absent.
    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        self.number_where(key, default, "a finite number", |_| true)
    }

    fn number_where(
        &self,
        key: &str,
        default: f64,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> Result<f64, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        match value.as_f64() {
            Some(number) if number.is_finite() && accept(number) => Ok(number),
            _ => Err(self.invalid(key, value, expected)),
        }
    }

    /// A boolean, or `default` when absent.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.invalid(key, other, "true or false")),
        }
    }

    /// A string, or `default` when absent.
    pub(super) fn text_or<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.invalid(key, other, "a string")),
        }
    }

    /// A required list of exactly `n` strings.
    pub(super) fn texts(&self, key: &str, n: usize) -> Result<Vec<&str>, ModelError> {
        let value = self.required(key)?;
        let texts: Option<Vec<&str>> = value
            .as_array()
            .filter(|items| items.len() == n)
            .and_then(|items| items.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| self.invalid(key, value, &format!("a list of {n} strings")))
    }

    /// Whether the list of strings under `key` holds `text`; absent or another type holds nothing.
    pub(super) fn lists(&self, key: &str, text: &str) -> bool {
        self.get(key)
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|item| item.as_str() == Some(text)))
    }

    /// Whether the class has such a key.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.table.answer(key).is_some()
    }

    /// Whether `key` is present.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether `key` holds a number.
    pub(super) fn is_number(&self, key: &str) -> bool {
        self.get(key).is_some_and(Value::is_number)
    }

    /// Any integer that fits `i64`, or `default` when absent.
    pub(super) fn integer_or(&self, key: &str, default: i64) -> Result<i64, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_i64().ok_or_else(|| self.invalid(key, value, "an integer")),
        }
    }

    /// The error for a value that is well formed but not implemented.
    pub(super) fn unsupported(&self, key: &str, value: &Value, supported: &str) -> ModelError {
        ModelError::Unsupported {
            role: self.role,
            key: self.full(key),
            value: shorten(value),
            supported: supported.to_owned(),
        }
    }

    /// The error for the value under `key` that contradicts another value.
    pub(super) fn contradiction(&self, key: &str, expected: &str) -> ModelError {
        self.invalid(key, self.get(key).unwrap_or(&Value::Null), expected)
    }

    /// Whether `key` is there and null, for keys whose null is a value of its own.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let answer = self.table.answer(key);
        debug_assert!(
            matches!(answer, Some(Answer::Followed | Answer::Only(_))),
            "{}: {key} is read, but its row says {answer:?}",
            self.table.name
        );
        self.read.borrow_mut().insert(key.to_owned());
        let is_absent = |value: &&Value| value.is_null() && !self.table.nulls.contains(&key);
        self.map.get(key).filter(|value| !is_absent(value))
    }

    fn required(&self, key: &str) -> Result<&Value, ModelError> {
        self.get(key).ok_or_else(|| self.missing(key))
    }

    pub(super) fn missing(&self, key: &str) -> ModelError {
        ModelError::MissingKey { role: self.role, key: self.full(key) }
    }

    fn as_size(&self, key: &str, value: &Value, min: usize, max: usize) -> Result<usize, ModelError> {
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.invalid(key, value, &format!("an integer from {min} to {max}")))
    }

    fn invalid(&self, key: &str, value: &Value, expected: &str) -> ModelError {
        ModelError::InvalidValue {
            role: self.role,
            key: self.full(key),
            value: shorten(value),
            expected: expected.to_owned(),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// The value as JSON, cut after 60 characters.
fn shorten(value: &Value) -> String {
    const LIMIT: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
