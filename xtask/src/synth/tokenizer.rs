//! The tokenizers' files.

mod unigram;

use std::{fs, path::Path};

use anyhow::{Context, Result};
pub(super) use sd_spec::clip_tokenizer::Padding;
use sd_spec::clip_tokenizer::{FILES, file, tokens};

/// Whose files a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokenizer {
    Clip(Padding),
    T5,
}

impl Tokenizer {
    /// Its class in transformers.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Clip(_) => "CLIPTokenizer",
            Self::T5 => "T5TokenizerFast",
        }
    }

    /// Writes its files.
    pub(super) fn write(self, dir: &Path) -> Result<()> {
        match self {
            Self::Clip(padding) => FILES.into_iter().try_for_each(|name| {
                let bytes = file(name, padding).context("no file of the tokenizer")?;
                Ok(fs::write(dir.join(name), bytes)?)
            }),
            Self::T5 => unigram::write(dir, &tokens()),
        }
    }
}
