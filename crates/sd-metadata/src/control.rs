//! What is said of a ControlNet within one value, in either of the extension's ways.
//!
//! `Module: canny, Model: control_canny [e3fe7712], Weight: 1, Guidance Start: 0, Guidance End: 1, …`, and before that
//! `preprocessor: canny, model: …, weight: 1, starting/ending: (0, 1), …`.

use crate::field::number;
pub(crate) use crate::made::Control;

impl Control {
    /// Reads a value; none if it has no key at all.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut control = Self::default();
        for (key, value) in parts(value)? {
            if !control.take(&key, &value) {
                control.other.push((key, value));
            }
        }
        Some(control)
    }

    /// Takes one setting, if it is understood and new.
    fn take(&mut self, key: &str, value: &str) -> bool {
        let share = |slot: &mut Option<f64>| match (number(value), &slot) {
            (Ok(number), None) => {
                *slot = Some(number);
                true
            }
            _ => false,
        };
        let text = |slot: &mut Option<String>| {
            let is_new = slot.is_none() && !value.is_empty();
            if is_new {
                *slot = Some(value.to_owned());
            }
            is_new
        };
        match key.to_ascii_lowercase().as_str() {
            "module" | "preprocessor" => text(&mut self.module),
            "model" => text(&mut self.model),
            "image" => text(&mut self.image),
            "weight" => share(&mut self.weight),
            "guidance start" => share(&mut self.start),
            "guidance end" => share(&mut self.end),
            "starting/ending" if self.start.is_none() && self.end.is_none() => self.take_range(value),
            _ => false,
        }
    }

    /// `(0, 0.8)`.
    fn take_range(&mut self, value: &str) -> bool {
        let inner = value.strip_prefix('(').and_then(|value| value.strip_suffix(')'));
        let Some((start, end)) = inner.and_then(|inner| inner.split_once(',')) else { return false };
        let (Ok(start), Ok(end)) = (number(start), number(end)) else { return false };
        (self.start, self.end) = (Some(start), Some(end));
        true
    }
}

/// Keys and values; a comma that no key follows, or in parentheses, is part of a value.
fn parts(text: &str) -> Option<Vec<(String, String)>> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let (mut depth, mut from) = (0usize, 0);
    let ends = text.match_indices([',', '(', ')']).chain([(text.len(), ",")]);
    for (at, sign) in ends {
        match sign {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ if depth > 0 && at < text.len() => {}
            _ => {
                let part = &text[from..at];
                from = (at + 1).min(text.len());
                let keyed = part.trim_start().split_once(": ").filter(|(key, _)| is_key(key));
                match (keyed, parts.last_mut()) {
                    (Some((key, value)), _) => parts.push((key.to_owned(), value.to_owned())),
                    (None, Some((_, value))) => {
                        value.push(',');
                        value.push_str(part);
                    }
                    (None, None) => return None,
                }
            }
        }
    }
    Some(parts)
}

fn is_key(text: &str) -> bool {
    text.starts_with(char::is_alphabetic) && text.chars().all(|char| char.is_alphanumeric() || " /_-".contains(char))
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let known = [
            ("Module", self.module.clone()),
            ("Model", self.model.clone()),
            ("Weight", number(self.weight)),
            ("Guidance Start", number(self.start)),
            ("Guidance End", number(self.end)),
            ("Image", self.image.clone()),
        ];
        let known = known.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let other = self.other.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (idx, (key, value)) in known.chain(other).enumerate() {
            let comma = if idx == 0 { "" } else { ", " };
            write!(f, "{comma}{key}: {value}")?;
        }
        Ok(())
    }
}
