//! Textual inversion: vectors that stand for new words, and the words.
//!
//! A file holds the vectors of a word, or those of each text encoder; which files say the word and which have it as their
//! name is a table here. [`Embeddings`] makes them part of a checkpoint: rows after the encoder's own, and tokens.
//!
//! What it deliberately does not do: read a tokenizer, or a prompt.

mod adapt;
mod asked;
mod files;
mod forms;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use host_tensor::HostTensor;
use sd_spec::Role;

use crate::{CheckpointError, Weight, Word};

pub use adapt::Embeddings;
pub use asked::EmbeddingAsked;

/// Vectors of one word; those of Automatic1111 have 75 at most.
const MAX_VECTORS: usize = 1024;
/// Numbers of a vector.
const MAX_WIDTH: usize = 1 << 16;
/// Bytes of a word.
const MAX_TOKEN_BYTES: usize = 256;

/// A file of vectors that stand for new words.
#[derive(Debug, Clone)]
pub struct Embedding {
    path: PathBuf,
    tokens: Vec<LearnedToken>,
    /// Keys of vectors for text encoders that take no new words.
    left_aside: Vec<String>,
}

/// A new word and its vectors.
#[derive(Debug, Clone)]
pub struct LearnedToken {
    /// The word, as prompts have it.
    pub token: String,
    /// Its vectors for one text encoder or several; of each as many.
    pub vectors: Vec<LearnedVectors>,
}

/// Vectors for one text encoder.
#[derive(Debug, Clone)]
pub struct LearnedVectors {
    /// The text encoder, where the file names it; otherwise it is that of the same width.
    pub encoder: Option<Role>,
    /// `[vectors, width]`.
    tensor: HostTensor,
}

/// Widths of the text encoders of models, and which these are.
const FAMILIES: [(&[usize], &str); 5] = [
    (&[768], "Stable Diffusion 1.x"),
    (&[1024], "Stable Diffusion 2.x"),
    (&[768, 1280], "Stable Diffusion XL"),
    (&[1280], "the refiner of Stable Diffusion XL"),
    (&[768, 1280, 4096], "Stable Diffusion 3"),
];

impl Embedding {
    /// Reads a file, whatever form it has; `token` is the word that it shall have in place of its own.
    ///
    /// # Errors
    /// [`CheckpointError::Embedding`] for a file that holds something else, or vectors that are none;
    /// otherwise as for files of weights.
    pub fn read(path: &Path, token: Option<&str>) -> Result<Self, CheckpointError> {
        let fail = |message: String| CheckpointError::Embedding { path: path.to_owned(), message };
        let content = forms::Content::read(path)?;
        let Some(tokens) = content.tokens(path).map_err(fail)? else {
            return Err(fail(format!(
                "it holds no vectors of a new word, but {}; files of textual inversion are read: those of diffusers, of \
                 Automatic1111, and of Stable Diffusion XL (clip_l, clip_g)",
                content.words()
            )));
        };
        let tokens = match (token, tokens) {
            (None, tokens) => tokens,
            (Some(token), mut tokens) if tokens.len() == 1 => {
                token.clone_into(&mut tokens[0].token);
                tokens
            }
            (Some(_), tokens) => {
                return Err(fail(format!("it has {} words of its own, which one name cannot replace", tokens.len())));
            }
        };
        tokens.iter().try_for_each(|token| token.check().map_err(fail))?;
        Ok(Self { path: path.to_owned(), tokens, left_aside: content.left_aside() })
    }

    /// What the user should know of it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match &self.left_aside[..] {
            [] => Vec::new(),
            keys => vec![format!(
                "{}: its vectors for T5 ({}) are left aside, for new words are of CLIP's text encoders only; T5 reads the \
                 word as any other text",
                self.path.display(),
                keys.join(", ")
            )],
        }
    }

    /// The same for a file of which nobody knows what it is; none where it is no embedding.
    ///
    /// # Errors
    /// For one that looks like an embedding and is damaged.
    pub fn recognise(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let Ok(content) = forms::Content::read(path) else { return Ok(None) };
        match content.tokens(path) {
            Ok(None) => Ok(None),
            _ => Self::read(path, None).map(Some),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The words.
    #[must_use]
    pub fn tokens(&self) -> &[LearnedToken] {
        &self.tokens
    }

    fn words(&self) -> impl Iterator<Item = Word> {
        let word = |token: &LearnedToken| Word {
            word: token.token.clone(),
            vectors: token.n_vectors(),
            file: self.path.clone(),
        };
        self.tokens.iter().map(word)
    }

    /// The models that it was made for, as far as the widths of its vectors tell.
    #[must_use]
    pub fn family(&self) -> Option<&'static str> {
        let mut widths: Vec<usize> = self.tokens.first()?.vectors.iter().map(LearnedVectors::width).collect();
        widths.sort_unstable();
        FAMILIES.iter().find(|(known, _)| *known == widths).map(|(_, words)| *words)
    }
}

impl LearnedToken {
    /// How many vectors it has.
    #[must_use]
    pub fn n_vectors(&self) -> usize {
        self.vectors.first().map_or(0, LearnedVectors::n_vectors)
    }

    /// The words of its vectors: its own, then its own with `_1`, `_2`, … as diffusers numbers them.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.n_vectors()).map(|i| if i == 0 { self.token.clone() } else { format!("{}_{i}", self.token) })
    }

    /// The vectors for a text encoder whose own have this width.
    #[must_use]
    pub fn vectors_for(&self, encoder: Role, width: usize) -> Option<&LearnedVectors> {
        let is_for = |vectors: &&LearnedVectors| vectors.encoder.is_none_or(|named| named == encoder);
        self.vectors.iter().find(|vectors| is_for(vectors) && vectors.width() == width)
    }

    fn check(&self) -> Result<(), String> {
        let Self { token, vectors } = self;
        if token.trim().is_empty() || token.len() > MAX_TOKEN_BYTES || token.chars().any(char::is_control) {
            return Err(format!("its word {token:?} is none; give it another: --embedding FILE=WORD"));
        }
        let counts: Vec<usize> = vectors.iter().map(LearnedVectors::n_vectors).collect();
        match counts.windows(2).all(|pair| pair[0] == pair[1]) {
            true => Ok(()),
            false => Err(format!("{token} has different numbers of vectors for its text encoders: {counts:?}")),
        }
    }
}

impl LearnedVectors {
    /// How many there are.
    #[must_use]
    pub fn n_vectors(&self) -> usize {
        self.tensor.shape()[0]
    }

    /// Numbers of each.
    #[must_use]
    pub fn width(&self) -> usize {
        self.tensor.shape()[1]
    }

    /// The vectors, `[vectors, width]`.
    #[must_use]
    pub const fn tensor(&self) -> &HostTensor {
        &self.tensor
    }

    fn new(key: &str, weight: &Weight, encoder: Option<Role>) -> Result<Self, String> {
        let shape = match weight.shape()[..] {
            [width] => [1, width],
            [n, width] => [n, width],
            ref other => return Err(format!("{key} has shape {other:?}, and vectors have one or two dimensions")),
        };
        let [n, width] = shape;
        if n == 0 || n > MAX_VECTORS || width == 0 || width > MAX_WIDTH || !weight.dtype().is_float() {
            return Err(format!("{key} is {} of shape {:?}, which are no vectors", weight.dtype(), weight.shape()));
        }
        let tensor = weight.constant().read().reshape(shape).map_err(|e| e.to_string())?;
        match tensor.to_f32_vec().iter().all(|value| value.is_finite()) {
            true => Ok(Self { encoder, tensor }),
            false => Err(format!("{key} has infinities, or what is no number")),
        }
    }
}
