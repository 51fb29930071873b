//! New words as a part of a checkpoint: rows of its text encoders, their configurations, and its tokenizers' tokens.

use std::collections::{BTreeMap, BTreeSet};

use safe_files::NamedFiles;
use sd_spec::Role;
use serde_json::Value;

use super::files::{self, TokenizerFiles};
use super::{Embedding, LearnedToken};
use crate::json::MAX_JSON_BYTES;
use crate::{Adapter, Checkpoint, CheckpointError, Weight, Weights};

/// Text encoders of CLIP and the folders of their tokenizers.
const ENCODERS: [(Role, &str); 2] = [(Role::TextEncoder, "tokenizer"), (Role::TextEncoder2, "tokenizer_2")];

/// The rows of a text encoder's words, in either spelling of transformers.
const ROWS: [&str; 2] = ["text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"];

/// Tokens in a vocabulary without `vocab_size` in the configuration: transformers' default.
const VOCAB_SIZE: u64 = 49_408;
/// Numbers of a token without `hidden_size`: transformers' default.
const HIDDEN_SIZE: u64 = 512;

/// Files of textual inversion, as an adapter: their vectors follow the text encoder's own.
#[derive(Debug)]
pub struct Embeddings {
    tokens: Vec<LearnedToken>,
    warnings: Vec<String>,
}

/// A text encoder of the checkpoint.
struct Encoder {
    role: Role,
    config: Value,
    n_tokens: u64,
    width: u64,
    tokenizer: String,
    files: TokenizerFiles,
}

impl Embeddings {
    #[cfg(test)]
    pub(super) fn of(tokens: Vec<LearnedToken>) -> Self {
        Self { tokens, warnings: Vec::new() }
    }

    /// The checkpoint with these words.
    ///
    /// # Errors
    /// [`CheckpointError::Embedding`], which names the file: for vectors that none, or not each, of the checkpoint's text
    /// encoders has the width of, and for words that are there already. Otherwise as [`Checkpoint::config`].
    pub fn add_to(checkpoint: Checkpoint, embeddings: &[Embedding]) -> Result<Checkpoint, CheckpointError> {
        let Some(first) = embeddings.first() else { return Ok(checkpoint) };
        let encoders = encoders(&checkpoint)?;
        let mut made = BTreeMap::new();
        for encoder in &encoders {
            let tokens = numbered(embeddings, encoder)?;
            let n_tokens = encoder.n_tokens + tokens.len() as u64;
            let config = files::encoder(encoder.config.clone(), n_tokens, encoder.files.end(encoder.n_tokens));
            made.insert(format!("{}/config.json", encoder.role.spec().folder), config);
            let (name, file) = encoder.files.with(&tokens);
            made.insert(format!("{}/{name}", encoder.tokenizer), file);
        }
        let tokens = embeddings.iter().flat_map(|embedding| embedding.tokens.clone()).collect();
        let words = embeddings.iter().flat_map(Embedding::words).collect();
        let warnings = embeddings.iter().flat_map(Embedding::warnings).collect();
        Ok(checkpoint.with_made(made, &first.path).with_words(words).with(Self { tokens, warnings }))
    }
}

/// The checkpoint's text encoders of CLIP.
fn encoders(checkpoint: &Checkpoint) -> Result<Vec<Encoder>, CheckpointError> {
    let json = |name: &str| -> Result<Option<Value>, CheckpointError> {
        let Some(bytes) = checkpoint.read(name, MAX_JSON_BYTES)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|source| CheckpointError::Json { path: checkpoint.place(name), source })
    };
    let mut found = Vec::new();
    for (role, tokenizer) in ENCODERS {
        if !checkpoint.has(role) {
            continue;
        }
        let config = checkpoint.config_json(role)?;
        let number = |key: &str, or: u64| config.get(key).and_then(Value::as_u64).unwrap_or(or);
        let file = |name: &str| json(&format!("{tokenizer}/{name}"));
        let files = TokenizerFiles {
            vocab: file(TokenizerFiles::VOCAB)?,
            whole: file(TokenizerFiles::WHOLE)?,
            config: file(TokenizerFiles::CONFIG)?,
            added: file(TokenizerFiles::ADDED)?,
        };
        if !files.is_there() {
            return Err(CheckpointError::Adapter(format!(
                "{} has no {tokenizer}, and a new word is a token of it",
                checkpoint.root().display()
            )));
        }
        let (n_tokens, width) = (number("vocab_size", VOCAB_SIZE), number("hidden_size", HIDDEN_SIZE));
        found.push(Encoder { role, n_tokens, width, config, tokenizer: tokenizer.to_owned(), files });
    }
    match found.is_empty() {
        true => Err(CheckpointError::Adapter(format!(
            "{} has no text encoder, and new words are rows of one",
            checkpoint.root().display()
        ))),
        false => Ok(found),
    }
}

/// The tokens of all words with their ids, which follow the encoder's own.
fn numbered(embeddings: &[Embedding], encoder: &Encoder) -> Result<Vec<(String, u64)>, CheckpointError> {
    let ids = encoder.files.ids();
    let mut taken: BTreeSet<String> = ids.keys().map(|token| token.to_lowercase()).collect();
    let mut tokens = Vec::new();
    for embedding in embeddings {
        let fail = |message| Err(CheckpointError::Embedding { path: embedding.path.clone(), message });
        if let Some((token, id)) = ids.iter().find(|(_, id)| **id >= encoder.n_tokens) {
            return fail(format!(
                "its vectors would follow the {} rows of the {}, and the tokenizer has {token:?} with the id {id} there",
                encoder.n_tokens, encoder.role
            ));
        }
        for word in &embedding.tokens {
            let width = usize::try_from(encoder.width).unwrap_or(usize::MAX);
            if word.vectors_for(encoder.role, width).is_none() {
                return fail(no_vectors(word, embedding, encoder));
            }
            for name in word.names() {
                // Texts are brought to lower case before tokens are looked for.
                if !taken.insert(name.to_lowercase()) {
                    return fail(format!("{name:?} is a token already; give it another word: --embedding FILE=WORD"));
                }
                tokens.push((name, encoder.n_tokens + tokens.len() as u64));
            }
        }
    }
    Ok(tokens)
}

/// What is said of a word that has no vectors for a text encoder.
fn no_vectors(word: &LearnedToken, embedding: &Embedding, encoder: &Encoder) -> String {
    let widths: Vec<String> = word.vectors.iter().map(|vectors| vectors.width().to_string()).collect();
    let made_for = embedding.family().map_or_else(String::new, |family| format!(" (it is for {family})"));
    format!(
        "{} has vectors of width {}{made_for}, and the {} takes {}",
        word.token,
        widths.join(" and "),
        encoder.role,
        encoder.width
    )
}

impl Adapter for Embeddings {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn adapt(&self, role: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        if !ENCODERS.iter().any(|(encoder, _)| *encoder == role) {
            return Ok(());
        }
        let fail = |message: String| CheckpointError::Adapter(message);
        let key = ROWS.into_iter().find(|key| weights.get(key).is_some());
        let key = key.ok_or_else(|| fail(format!("the {role} has no {}, which new words follow", ROWS[0])))?;
        let own = weights.get(key).cloned().into_iter();
        let width = own.clone().next().and_then(|own| own.shape().get(1).copied()).unwrap_or(0);
        let learned = self.tokens.iter().map(|word| {
            let vectors = word.vectors_for(role, width);
            vectors.map(|vectors| Weight::from(vectors.tensor().clone())).ok_or_else(|| word.token.clone())
        });
        let learned: Vec<Weight> = learned
            .collect::<Result<_, _>>()
            .map_err(|token| fail(format!("{token} has no vectors of width {width}, which the {role} takes")))?;
        let joined = Weight::joined(own.chain(learned).collect()).map_err(|e| fail(format!("{key}: {e}")))?;
        weights.insert(key, joined);
        Ok(())
    }
}
