//! What a file of new words is, as data.

use std::path::Path;

use sd_checkpoint::{Embedding, LearnedToken, LearnedVectors};
use serde::Serialize;

use super::hashes::HashFacts;
use crate::error::Result;

/// A file of textual inversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmbeddingFile {
    /// The file.
    pub path: String,
    /// The models that it was made for, as far as the widths of its vectors tell.
    pub base: Option<&'static str>,
    /// Its words.
    pub words: Vec<LearnedWord>,
    /// Its hashes, where somebody asked for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<HashFacts>,
}

/// A new word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LearnedWord {
    /// The word, as prompts have it.
    pub word: String,
    /// How many vectors it has for each text encoder.
    pub n_vectors: usize,
    /// The vectors, by text encoder.
    pub encoders: Vec<EncoderVectors>,
}

/// The vectors of a word for one text encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncoderVectors {
    /// The text encoder, where the file names it.
    pub component: Option<&'static str>,
    /// Numbers of each vector.
    pub width: usize,
    /// Element type.
    pub dtype: String,
}

impl EmbeddingFile {
    /// Looks at a file; none for one that holds no new words.
    ///
    /// # Errors
    /// For one that looks like it and is damaged.
    pub fn of(path: &Path) -> Result<Option<Self>> {
        let Some(file) = Embedding::recognise(path)? else { return Ok(None) };
        let words = file.tokens().iter().map(LearnedWord::of).collect();
        Ok(Some(Self { path: path.display().to_string(), base: file.family(), words, hashes: Vec::new() }))
    }
}

impl LearnedWord {
    fn of(token: &LearnedToken) -> Self {
        let encoder = |vectors: &LearnedVectors| EncoderVectors {
            component: vectors.encoder.map(|role| role.name()),
            width: vectors.width(),
            dtype: vectors.tensor().dtype().to_string(),
        };
        Self {
            word: token.token.clone(),
            n_vectors: token.n_vectors(),
            encoders: token.vectors.iter().map(encoder).collect(),
        }
    }
}
