//! Keys and values of a line, and the quotes around values.

use serde_json::Value;

/// A key and its value, without quotes; what is neither has no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

/// Finds all pairs of a line.
///
/// A key is letters, digits, `_`, space, `-` and `/`, two characters at least and the first a letter, a digit or `_`; a value
/// ends at a comma, but for one in quotes or brackets that are closed right before a comma or the end.
pub(super) fn pairs(line: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    // Brackets that are never closed are looked through to the end of the line: not for each of them.
    let mut budget = 8 * line.len();
    let (mut begin, mut from) = (0, 0);
    while let Some(colon) = line[from..].find(':').map(|at| from + at) {
        let Some(key_at) = key(&line[begin..colon]).map(|at| begin + at) else {
            from = colon + 1;
            continue;
        };
        leftover(&line[begin..key_at], &mut pairs);
        let rest = &line[colon + 1..];
        let value_at = colon + 1 + (rest.len() - rest.trim_start().len());
        let (value, length) = value(&line[value_at..], &mut budget);
        pairs.push(Pair { key: line[key_at..colon].to_owned(), value });
        // Behind the value and its comma.
        begin = (value_at + length + 1).min(line.len());
        from = begin;
    }
    leftover(&line[begin..], &mut pairs);
    pairs
}

/// Where the key at the end of a text begins.
fn key(text: &str) -> Option<usize> {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let run = text.trim_end_matches(|char| is_word(char) || matches!(char, ' ' | '-' | '/'));
    let at = run.len() + text[run.len()..].find(is_word)?;
    text[at..].chars().nth(1).is_some().then_some(at)
}

/// Keeps what stands between pairs.
fn leftover(text: &str, pairs: &mut Vec<Pair>) {
    let text = text.trim().trim_matches(',').trim();
    if !text.is_empty() {
        pairs.push(Pair { key: String::new(), value: text.to_owned() });
    }
}

/// The value that a text begins with, and how many bytes of it that is.
fn value(text: &str, budget: &mut usize) -> (String, usize) {
    let closed = match text.as_bytes().first() {
        Some(b'"') => quotes(text),
        Some(b'{' | b'[') if *budget > 0 => {
            let (closed, looked_at) = brackets(text);
            *budget = budget.saturating_sub(looked_at);
            closed
        }
        _ => None,
    };
    if let Some(length) = closed.filter(|length| ends_here(&text[*length..])) {
        let length = length + text[length..].find(',').unwrap_or(text.len() - length);
        return (unquote(text[..length].trim()), length);
    }
    let length = text.find(',').unwrap_or(text.len());
    (text[..length].trim().to_owned(), length)
}

fn ends_here(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with(',')
}

/// Bytes of the quoted text that a text begins with.
fn quotes(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Bytes of the brackets that a text begins with, and how many were looked at.
fn brackets(text: &str) -> (Option<usize>, usize) {
    let mut open = Vec::new();
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' if open.pop() != Some(byte) => return (None, at),
            b'}' | b']' if open.is_empty() => return (Some(at + 1), at),
            _ => {}
        }
    }
    (None, text.len())
}

/// The text in quotes; one that is no JSON stays as it is, as in the web UI.
fn unquote(text: &str) -> String {
    match text.starts_with('"').then(|| serde_json::from_str(text)) {
        Some(Ok(Value::String(inner))) => inner,
        _ => text.to_owned(),
    }
}

/// A value as it is written, so that it is read as it was.
pub(super) fn quote(value: &str) -> String {
    let is_plain =
        !value.contains([',', ':', '\n', '\r']) && !value.starts_with(['"', '{', '[']) && value.trim() == value;
    match is_plain {
        true => value.to_owned(),
        false => Value::from(value).to_string(),
    }
}

/// Whether a text is read as a key.
pub(super) fn is_key(text: &str) -> bool {
    text.trim_end() == text && key(text) == Some(0)
}
