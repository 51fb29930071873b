//! What an answer that is no success means, and what to do about it.
//!
//! The Hub says why in `X-Error-Code`; a repository that is private, or not there, has the same answer, 401, to those who
//! do not say who they are (huggingface_hub 1.0, `utils/_http.py`).

use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};

use crate::address::shown;
use crate::ask::{About, Again, Ask, Trouble};
use crate::pause::asked_for;
use crate::{HubError, Settings};

/// As much of a server's own words as a message holds.
const MOST_WORDS: usize = 200;
/// As much of an answer as is looked at for words.
const MAX_BODY_BYTES: u64 = 4096;

/// Why the Hub says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Gated,
    NoRepository,
    NoRevision,
    NoFile,
    /// The token is none that is known.
    Token,
    Other,
}

/// `is_hub`: whether it is the Hub itself that answers, and not where it leads.
pub(crate) fn refusal(
    settings: &Settings,
    is_hub: bool,
    ask: &Ask<'_>,
    url: &str,
    mut response: Response<Body>,
) -> Trouble {
    let status = response.status();
    let words = words_of(response.headers()).or_else(|| error_in(&mut response));
    let has_token = settings.token.is_some() && is_hub;
    let reason = reason(status, response.headers(), words.as_deref(), ask, has_token);
    let asked = asked_for(response.headers());
    let again = match status.as_u16() {
        429 | 503 => Again::After(asked),
        408 | 425 | 500 | 502 | 504 => Again::After(None),
        _ => Again::Never,
    };
    let (mut what, mut next) = explained(reason, status, &ask.about, settings, has_token);
    if let Some(asked) = asked.filter(|_| matches!(again, Again::After(Some(_)))) {
        what.push_str(&format!(", for {} s", asked.as_secs()));
        next = format!("run it again after that; what is there is kept. {next}");
    }
    if let Some(words) = words.filter(|_| reason == Reason::Other || reason == Reason::Token) {
        what.push_str(&format!(" ({words:?})"));
    }
    let error = HubError::Answer { url: shown(url).to_owned(), status: status.as_u16(), what, next };
    Trouble { error: Box::new(error), again }
}

fn words_of(headers: &HeaderMap) -> Option<String> {
    Some(bounded(headers.get("x-error-message")?.to_str().ok()?)).filter(|words| !words.is_empty())
}

/// The words in an answer's content, `{"error": "…"}`.
fn error_in(response: &mut Response<Body>) -> Option<String> {
    let content = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec().ok()?;
    let json: serde_json::Value = serde_json::from_slice(&content).ok()?;
    Some(bounded(json.get("error")?.as_str()?)).filter(|words| !words.is_empty())
}

/// Words of a server, which may be anything, as one short line.
fn bounded(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
    words.trim().to_owned()
}

fn reason(status: StatusCode, headers: &HeaderMap, words: Option<&str>, ask: &Ask<'_>, has_token: bool) -> Reason {
    match headers.get("x-error-code").and_then(|code| code.to_str().ok()) {
        Some("GatedRepo") => return Reason::Gated,
        Some("RepoNotFound") => return Reason::NoRepository,
        Some("RevisionNotFound") => return Reason::NoRevision,
        Some("EntryNotFound") => return Reason::NoFile,
        _ => {}
    }
    let is_token_refused = words.is_some_and(|words| words.to_ascii_lowercase().contains("invalid credentials"));
    match status.as_u16() {
        401 if has_token && (is_token_refused || words.is_none()) => Reason::Token,
        401 => Reason::NoRepository,
        404 if ask.about.file.is_some() => Reason::NoFile,
        404 => Reason::NoRepository,
        _ => Reason::Other,
    }
}

/// What a reason means here, and what to do.
fn explained(
    reason: Reason,
    status: StatusCode,
    about: &About<'_>,
    settings: &Settings,
    has_token: bool,
) -> (String, String) {
    let About { id, revision, file } = *about;
    let endpoint = &settings.endpoint;
    let give_token = "give a token of that account (HF_TOKEN, or hf auth login)";
    match (reason, has_token) {
        (Reason::Gated, false) => (
            format!("{id} is given only to those who accept its licence"),
            format!("accept it at {endpoint}/{id}, and {give_token}"),
        ),
        (Reason::Gated, true) => (
            format!("{id} is given only to those who accept its licence, and the token's account has not"),
            format!(
                "accept it at {endpoint}/{id} with that account; a fine-grained token needs the right to read gated repositories too"
            ),
        ),
        (Reason::NoRepository, false) => (
            format!("{id} is not there, or is private"),
            format!("check the name at {endpoint}/{id}; for a private one, {give_token}"),
        ),
        (Reason::NoRepository, true) => (
            format!("{id} is not there, or the token may not read it"),
            format!("check the name at {endpoint}/{id}, and what the token may read at {endpoint}/settings/tokens"),
        ),
        (Reason::NoRevision, _) => (
            format!("{id} has no revision {revision}"),
            format!("{endpoint}/{id}/tree/main lists branches and tags; default is main"),
        ),
        (Reason::NoFile, _) => (
            format!("{id} has no file {} in its revision {revision}", file.unwrap_or_default()),
            format!("{endpoint}/{id}/tree/{revision} lists its files"),
        ),
        (Reason::Token, _) => (
            "the token is not known there".to_owned(),
            format!("make a new one at {endpoint}/settings/tokens, or leave HF_TOKEN out for public models"),
        ),
        (Reason::Other, _) => other(status, has_token),
    }
}

fn other(status: StatusCode, has_token: bool) -> (String, String) {
    match (status.as_u16(), has_token) {
        (429, false) => (
            "too many requests from this address".to_owned(),
            "A token (HF_TOKEN, or hf auth login) has more of them".to_owned(),
        ),
        (429, true) => ("too many requests".to_owned(), "The account's page says how many it has".to_owned()),
        (403, _) => ("it is not given".to_owned(), "check what the token may read".to_owned()),
        (500..=599, _) => {
            let next = "run it again later, which goes on where this broke off; --offline takes what is in the cache";
            ("the server has a fault".to_owned(), next.to_owned())
        }
        _ => ("nothing is known of such an answer".to_owned(), "check HF_ENDPOINT and HTTPS_PROXY".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_are_one_short_line() {
        assert_eq!(bounded("a\r\nb\u{1b}[31m"), "a  b [31m");
        assert_eq!(bounded(&"x".repeat(1000)).len(), MOST_WORDS);
    }
}
