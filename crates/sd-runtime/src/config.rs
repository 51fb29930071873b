//! What is said of a configuration beside what is followed: keys that nobody knows, and choices that were made.

use sd_spec::keys::Table;
use serde_json::{Map, Value};

use crate::error::{Result, RuntimeError};

/// Something in a configuration that did not stop its reader, but that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Which document: a file's name or a role.
    pub document: String,
    /// What is in it, and what is done about it.
    pub reason: String,
}

impl ConfigWarning {
    pub(crate) fn new(document: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { document: document.into(), reason: reason.into() }
    }
}

impl std::fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.document, self.reason)
    }
}

/// Checks an object against the table of its keys; `is_own` are names that files make up, and that are known nevertheless.
///
/// Gives a warning that lists the keys which nobody defines.
///
/// # Errors
/// [`RuntimeError::Refused`] for a value that is not implemented.
pub(crate) fn check_keys(
    table: &Table,
    document: &str,
    object: &Map<String, Value>,
    is_own: impl Fn(&str) -> bool,
) -> Result<Option<ConfigWarning>> {
    if let Some(refusal) = table.refused(object) {
        return Err(RuntimeError::Refused { document: document.to_owned(), refusal: Box::new(refusal) });
    }
    let unknown: Vec<String> = table.unknown(object).into_iter().filter(|key| !is_own(key)).collect();
    Ok(unknown_keys(table.name, document, &unknown))
}

/// The warning that names keys which nobody defines.
pub(crate) fn unknown_keys(class: &str, document: &str, unknown: &[String]) -> Option<ConfigWarning> {
    let keys: Vec<String> = unknown.iter().map(|key| format!("{key:?}")).collect();
    let reason = match &keys[..] {
        [] => return None,
        [key] => format!("nothing is known of key {key}, which {class} does not define; it has no effect"),
        several => format!(
            "nothing is known of keys {}, which {class} does not define; they have no effect",
            several.join(", ")
        ),
    };
    Some(ConfigWarning::new(document, reason))
}
