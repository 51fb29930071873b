//! Where the Hub is, who asks, and where files go: from the variables and files that huggingface_hub reads.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use sd_checkpoint::hub::{Cache, home, variable};

use crate::{HubError, Patience};

const ENDPOINT: &str = "https://huggingface.co";
/// Tokens are short; a longer file is another thing.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Where models come from and where they go.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The Hub, or a mirror of it, without a slash at the end.
    pub endpoint: String,
    /// Who asks.
    pub token: Option<Token>,
    /// Where files go.
    pub cache: Cache,
    /// How patient the client is.
    pub patience: Patience,
}

/// What says who asks; it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

/// Whether the environment says that nothing is to be fetched: `HF_HUB_OFFLINE`, or transformers' older name.
#[must_use]
pub fn is_offline() -> bool {
    ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().any(is_true)
}

fn is_true(name: &str) -> bool {
    let value = variable(name).map(|value| value.to_string_lossy().to_ascii_uppercase());
    value.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
}

impl Settings {
    /// As the environment says: `HF_ENDPOINT`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, or the file that `HF_TOKEN_PATH` names,
    /// else `token` in `HF_HOME`; and [`Cache::standard`].
    ///
    /// # Errors
    /// [`HubError::Setting`] for an address or a token that cannot be one, and [`HubError::Read`].
    pub fn standard() -> Result<Self, HubError> {
        let endpoint =
            variable("HF_ENDPOINT").map_or_else(|| ENDPOINT.into(), |value| value.to_string_lossy().into_owned());
        let token = if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&variable)? };
        Ok(Self { token, ..Self::at(&endpoint, Cache::standard())? })
    }

    /// A server and a cache, without a token.
    ///
    /// # Errors
    /// [`HubError::Setting`] for an address that cannot be one.
    pub fn at(endpoint: &str, cache: Cache) -> Result<Self, HubError> {
        let endpoint = endpoint.trim().trim_end_matches('/');
        let uri = endpoint.parse::<ureq::http::Uri>();
        let is_address = uri.is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_address {
            let what = format!("{endpoint:?} is no address such as {ENDPOINT}");
            return Err(HubError::Setting { name: "HF_ENDPOINT".to_owned(), what });
        }
        Ok(Self { endpoint: endpoint.to_owned(), token: None, cache, patience: Patience::default() })
    }

    /// The same with a token.
    ///
    /// # Errors
    /// [`HubError::Setting`] for text that cannot be one.
    pub fn with_token(self, token: &str) -> Result<Self, HubError> {
        Ok(Self { token: cleaned(token, "the token")?, ..self })
    }

    /// The same, more or less patient.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }
}

fn token(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Token>, HubError> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = variable(name)
            && let Some(token) = cleaned(&value.to_string_lossy(), name)?
        {
            return Ok(Some(token));
        }
    }
    let path = variable("HF_TOKEN_PATH").map_or_else(|| home().join("token"), PathBuf::from);
    match safe_files::read_text_if_present(&path, MAX_TOKEN_BYTES)? {
        Some(text) => cleaned(&text, &path.display().to_string()),
        None => Ok(None),
    }
}

/// A token without the space around it; what could not stand in a request is refused, and not shown.
fn cleaned(text: &str, name: &str) -> Result<Option<Token>, HubError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Some(Token(text.to_owned()))),
        false => {
            let what = "it holds characters that no token has".to_owned();
            Err(HubError::Setting { name: name.to_owned(), what })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_looked_for_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "hf_file\n").unwrap();
        let path = file.to_string_lossy().into_owned();
        let absent = dir.path().join("none").to_string_lossy().into_owned();
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            assert_eq!(token(&variable).unwrap(), expected.map(|text| Token(text.to_owned())), "{set:?}");
        };
        check(&[("HF_TOKEN", "a"), ("HUGGING_FACE_HUB_TOKEN", "b"), ("HF_TOKEN_PATH", &path)], Some("a"));
        check(&[("HF_TOKEN", " "), ("HUGGING_FACE_HUB_TOKEN", "b"), ("HF_TOKEN_PATH", &path)], Some("b"));
        check(&[("HF_TOKEN_PATH", &path)], Some("hf_file"));
        check(&[("HF_TOKEN_PATH", &absent)], None);
    }

    #[test]
    fn tokens_are_never_shown_and_odd_ones_refused() {
        let settings = Settings::at("https://hub.co/", Cache::at("x".into())).unwrap();
        assert_eq!(settings.endpoint, "https://hub.co");
        let shown = format!("{:?}", settings.clone().with_token("hf_secret").unwrap());
        assert!(!shown.contains("hf_secret"), "{shown}");
        let error = settings.with_token("hf_secret\nX-Evil: 1").unwrap_err().to_string();
        assert!(error.contains("characters") && !error.contains("hf_secret"), "{error}");
        for bad in ["", "hub.co", "ftp://hub.co", "https://"] {
            assert!(Settings::at(bad, Cache::at("x".into())).is_err(), "{bad}");
        }
    }
}
