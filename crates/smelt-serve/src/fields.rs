//! Fields of requests in other tools' words: each is optional, null is as if it were not there, and numbers may be written
//! as texts, which forms and some clients do.
//!
//! What it deliberately does not do: know any field; which there are, interfaces declare.

use serde_json::{Map, Value};

use crate::fault::Fault;

/// Fields of a request that were not looked at yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    left: Map<String, Value>,
    /// What stands before their names in messages.
    within: String,
}

/// A field that has no effect here, and the values with which it would have none where it comes from.
pub(crate) struct Idle {
    pub(crate) name: &'static str,
    pub(crate) usual: Usual,
}

/// Values with which a field has no effect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Usual {
    /// All of them: it only says how another tool does the same, or counts together with fields that are refused.
    Any,
    /// What says that it is off: false, 0, nothing.
    Off,
    /// The same, and these numbers.
    Numbers(&'static [f64]),
    /// The same, and these words.
    Words(&'static [&'static str]),
}

impl Usual {
    pub(crate) fn has(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Off => is_off(value),
            Self::Numbers(numbers) => is_off(value) || value.as_f64().is_some_and(|value| numbers.contains(&value)),
            Self::Words(words) => {
                let is_one = |text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text));
                is_off(value) || value.as_str().is_some_and(is_one)
            }
        }
    }

    /// What to give instead, for messages.
    fn advice(self) -> String {
        let listed = |all: Vec<String>| format!(", or give {}", all.join(" or "));
        match self {
            Self::Any | Self::Off => String::new(),
            Self::Numbers(numbers) => listed(numbers.iter().map(f64::to_string).collect()),
            Self::Words(words) => listed(words.iter().map(|word| format!("{word:?}")).collect()),
        }
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text.eq_ignore_ascii_case("none"),
        Value::Array(all) => all.iter().all(is_off),
        Value::Object(all) => all.is_empty(),
    }
}

/// A value for a message: not all of a long one.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

impl Fields {
    pub(crate) fn new(all: Map<String, Value>) -> Self {
        Self { left: all.into_iter().filter(|(_, value)| !value.is_null()).collect(), within: String::new() }
    }

    /// Fields of an object of a request.
    pub(crate) fn within(all: Map<String, Value>, name: &str) -> Self {
        Self { within: format!("{name}."), ..Self::new(all) }
    }

    fn wrong(&self, name: &str, value: &Value, what: &str) -> Fault {
        let name = format!("{}{name}", self.within);
        Fault { field: Some(name.clone()), ..Fault::unprocessable(format!("{name}: {} is not {what}", shown(value))) }
    }

    /// A value of any kind.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name)
    }

    fn take<T>(&mut self, name: &str, what: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Fault> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| self.wrong(name, &value, what))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A text that says something.
    pub(crate) fn word(&mut self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.text(name)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        self.take(name, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.to_lowercase().parse().ok(),
            Value::Number(number) => match number.as_f64()? {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            },
            _ => None,
        })
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, Fault> {
        self.take(name, "a number", number)
    }

    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        self.take(name, "a whole number", |value| {
            value.as_i64().or_else(|| {
                const EXACT: f64 = 9e15;
                let number = number(value).filter(|number| number.fract() == 0.0 && number.abs() < EXACT)?;
                Some(number as i64)
            })
        })
    }

    /// A whole number from 0.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<usize>, Fault> {
        let whole = self.whole(name)?;
        let wrong = |n: i64| self.wrong(name, &n.into(), "a number from 0 on");
        whole.map(|n| usize::try_from(n).map_err(|_| wrong(n))).transpose()
    }

    /// A seed; what is below 0 means a random one, which is none.
    pub(crate) fn seed(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        Ok(self.whole(name)?.and_then(|seed| u64::try_from(seed).ok()))
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Map<String, Value>, Fault> {
        Ok(self.take(name, "an object", |value| value.as_object().cloned())?.unwrap_or_default())
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Fault> {
        self.take(name, "a list", |value| value.as_array().cloned())
    }

    /// Refuses fields without effect that would have one where they come from.
    pub(crate) fn check(&mut self, idle: &[Idle]) -> Result<(), Fault> {
        for Idle { name, usual } in idle {
            if let Some(value) = self.value(name).filter(|value| !usual.has(value)) {
                let (name, advice) = (format!("{}{name}", self.within), usual.advice());
                let message = format!("{name} {} cannot be done here; leave it out{advice}", shown(&value));
                return Err(Fault::field(name, message));
            }
        }
        Ok(())
    }

    /// Names of fields that nobody asked for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.left.keys().map(|name| format!("{}{name}", self.within)).collect()
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { unreachable!() };
        Fields::new(map)
    }

    #[test]
    fn null_is_unset_and_numbers_may_be_texts() {
        let mut all =
            fields(json!({ "a": null, "b": "7", "c": 7.0, "d": 7.5, "e": -1, "f": "True", "g": 1, "h": "x" }));
        assert_eq!(
            (all.whole("a").unwrap(), all.whole("b").unwrap(), all.whole("c").unwrap()),
            (None, Some(7), Some(7))
        );
        let error = all.whole("d").unwrap_err();
        assert_eq!((error.status.as_u16(), error.message.as_str()), (422, "d: 7.5 is not a whole number"));
        assert_eq!(all.seed("e").unwrap(), None);
        assert_eq!((all.flag("f").unwrap(), all.flag("g").unwrap()), (Some(true), Some(true)));
        assert!(all.number("h").is_err() && all.text("nothing").unwrap().is_none());
    }

    #[test]
    fn what_has_no_effect_is_refused_unless_it_is_as_usual() {
        const IDLE: [Idle; 3] = [
            Idle { name: "tiling", usual: Usual::Off },
            Idle { name: "noise", usual: Usual::Numbers(&[1.0]) },
            Idle { name: "vae", usual: Usual::Words(&["Automatic"]) },
        ];
        let rest = |value| {
            let mut all = fields(value);
            all.check(&IDLE).map(|()| all.names()).map_err(|fault| fault.message)
        };
        let usual = json!({ "tiling": false, "noise": 1, "vae": "automatic", "other": 1, "styles": [] });
        assert_eq!(rest(usual).unwrap(), ["other", "styles"]);
        let error = rest(json!({ "tiling": true })).unwrap_err();
        assert_eq!(error, "tiling true cannot be done here; leave it out");
        let error = rest(json!({ "vae": "x" })).unwrap_err();
        assert!(error.ends_with("leave it out, or give \"Automatic\""), "{error}");
    }
}
