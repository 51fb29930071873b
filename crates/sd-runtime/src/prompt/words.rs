//! Words in a text: letters, digits and `_` that stand between others.

/// Whether a character is a part of words.
pub(super) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a word begins in a text that stands there by itself, in bytes.
pub(super) fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let stands_alone = |at: &usize| {
        let (before, behind) = (&text[..*at], &text[at + word.len()..]);
        !before.ends_with(is_of_word) && !behind.starts_with(is_of_word)
    };
    text.match_indices(word).map(|(at, _)| at).filter(stands_alone)
}

/// Whether a text has a word by itself.
#[must_use]
pub fn has_word(text: &str, word: &str) -> bool {
    !word.is_empty() && places(text, word).next().is_some()
}
