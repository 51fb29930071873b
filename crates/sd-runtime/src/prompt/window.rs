//! A text without weights as ids in one window; its end is cut off where it does not fit.

use crate::error::{Result, RuntimeError};
use crate::tokenizer::{Frame, Tokenizer};

/// A text as ids, framed and padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Start token, text, end token, padding: exactly the length asked for.
    pub ids: Vec<u32>,
    /// How many ids come before the padding.
    pub n_tokens: usize,
    /// The part of the text that did not fit, if any.
    pub truncated: Option<TruncatedText>,
}

/// What was cut off a text that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncatedText {
    /// The end of the text, from the first token that did not fit.
    pub text: String,
    /// How many tokens were dropped.
    pub n_tokens: usize,
}

impl Window {
    /// Frames a text with start and end token and pads it to `length` tokens.
    ///
    /// A text that does not fit into `length`, or into the tokenizer's longest, loses its end, never its end token.
    ///
    /// # Errors
    /// [`RuntimeError::Tokenizer`] if `length` has no room for the frame.
    pub fn of(tokenizer: &dyn Tokenizer, text: &str, length: usize) -> Result<Self> {
        let Frame { start, end, pad, max_length } = tokenizer.frame();
        let window = length.min(max_length);
        let around = 1 + usize::from(start.is_some());
        let Some(room) = window.checked_sub(around) else {
            return Err(RuntimeError::Tokenizer(format!("a prompt of {window} tokens has no room for start and end")));
        };
        let tokens = tokenizer.tokens(text)?;
        let truncated = tokens.get(room).map(|first| TruncatedText {
            text: text[text.floor_char_boundary(first.offset)..].to_owned(),
            n_tokens: tokens.len() - room,
        });
        let mut ids = Vec::with_capacity(length);
        ids.extend(start);
        ids.extend(tokens.iter().take(room).map(|token| token.id));
        ids.push(end);
        let n_tokens = ids.len();
        ids.resize(length, pad);
        Ok(Self { ids, n_tokens, truncated })
    }
}
