//! Tokenizers: text to the ids of a text encoder's vocabulary.
//!
//! What frames ids, cuts them into windows and pads them is `prompt`.

mod clip;
mod t5;

pub use clip::ClipTokenizer;
pub use t5::T5Tokenizer;

use crate::error::Result;

/// A part of a text that has one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The id.
    pub id: u32,
    /// Where in the text it begins, in bytes.
    pub offset: usize,
    /// Whether it is a further vector of the word that the token before it begins.
    pub is_further: bool,
}

/// What stands around a text, and how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Id before every text; T5 has none.
    pub start: Option<u32>,
    /// Id after every text.
    pub end: u32,
    /// Id that fills up the rest.
    pub pad: u32,
    /// The longest framed text, in tokens; [`usize::MAX`] where the files set no limit.
    pub max_length: usize,
}

/// Text to ids, for one text encoder.
pub trait Tokenizer: std::fmt::Debug + Send + Sync {
    /// The tokens of a text, without a frame.
    ///
    /// # Errors
    /// [`RuntimeError::Tokenizer`](crate::RuntimeError::Tokenizer) if the tokenizer itself fails.
    fn tokens(&self, text: &str) -> Result<Vec<Token>>;

    /// What stands around a text.
    fn frame(&self) -> Frame;
}
