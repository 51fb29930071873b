//! Words that a checkpoint has learned.

use std::path::PathBuf;

use serde::Serialize;

/// A new word that a checkpoint was opened with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The word, as prompts have it.
    pub word: String,
    /// How many vectors it stands for, each of which takes the place of a token.
    pub vectors: usize,
    /// The file that it is of.
    pub file: PathBuf,
}
