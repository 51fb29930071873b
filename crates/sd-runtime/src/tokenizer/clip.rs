//! CLIP's tokenizer, id for id what Hugging Face's gives.
//!
//! Text is brought to NFC, runs of white space to one space, letters to lower case; a regular expression cuts it into words, and byte-pair encoding with the word end `</w>` cuts words into tokens.
//! Special tokens are found inside the text too, as Hugging Face finds them: with SD 2.x, whose padding token is "!", every exclamation mark becomes padding.
//! A word that was learned with several vectors stands for all of them.
//! The `tokenizers` crate does the work; this module reads the files and puts the pieces together.

mod files;
mod learned;
mod special;

use std::path::Path;

use safe_files::{Folder, NamedFiles};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{self, NFC, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::{Frame, Token, Tokenizer};
use crate::config::ConfigWarning;
use crate::error::{Result, RuntimeError};
use files::TokenizerFiles;
use learned::Learned;
use special::{Special, SpecialToken, not_in_vocabulary};

/// CLIP's words, as transformers 5.23 cuts them: special tokens, English clitics, letters, single digits, everything else but spaces.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The suffix of a word's last token.
const END_OF_WORD: &str = "</w>";

/// A CLIP tokenizer.
pub struct ClipTokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    pad: u32,
    max_length: usize,
    learned: Learned,
    warnings: Vec<ConfigWarning>,
}

impl std::fmt::Debug for ClipTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClipTokenizer")
            .field("vocab_size", &self.inner.get_vocab_size(true))
            .field("start", &self.start)
            .field("end", &self.end)
            .field("pad", &self.pad)
            .field("max_length", &self.max_length)
            .finish_non_exhaustive()
    }
}

impl ClipTokenizer {
    /// Reads a `tokenizer` directory: `tokenizer.json`, or `vocab.json` and `merges.txt`; `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` where they are there.
    ///
    /// # Errors
    /// [`RuntimeError::File`] for missing files, [`RuntimeError::Json`] and [`RuntimeError::Tokenizer`] for malformed ones.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::from_files(&Folder(dir))
    }

    /// As [`from_dir`](Self::from_dir), from files that need not lie in a directory.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn from_files(files: &dyn NamedFiles) -> Result<Self> {
        Self::build(TokenizerFiles::read(files)?)
    }

    fn build(files: TokenizerFiles) -> Result<Self> {
        let fail = |e: tokenizers::Error| RuntimeError::Tokenizer(e.to_string());
        let model = BPE::builder()
            .vocab_and_merges(files.vocab.into_iter().collect::<Vocab>(), files.merges)
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix(END_OF_WORD.to_owned())
            .unk_token(files.special.unknown.clone())
            .build()
            .map_err(fail)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_normalizer(Some(normalizer().map_err(fail)?));
        inner.with_pre_tokenizer(Some(pre_tokenizer().map_err(fail)?));
        add_special_tokens(&mut inner, &files.special.tokens)?;
        inner.set_encode_special_tokens(files.splits_special);
        let id = |content: &String| inner.token_to_id(content).ok_or_else(|| not_in_vocabulary(content));
        let Special { start, end, pad, .. } = &files.special;
        let (end, start, pad) = (id(end)?, id(start)?, id(pad)?);
        let learned = Learned::of(&files.special.tokens);
        Ok(Self { inner, start, end, pad, max_length: files.max_length, learned, warnings: files.warnings })
    }

    /// What the user should know of the files: keys that nobody knows, and choices that were made between them.
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Id of the token before every prompt.
    pub fn start_id(&self) -> u32 {
        self.start
    }

    /// Id of the token after every prompt.
    pub fn end_id(&self) -> u32 {
        self.end
    }

    /// Id that fills up the rest: the end token in SD 1.x, "!" in SD 2.x.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The largest id that a prompt can have; the text encoder needs an embedding for it.
    pub fn largest_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or_default()
    }

    /// The longest framed prompt, in tokens: `model_max_length`, 77 for CLIP; [`usize::MAX`] where the files set no limit.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The ids of a text, without frame, truncation or padding.
    ///
    /// # Errors
    /// [`RuntimeError::Tokenizer`] if the tokenizer itself fails.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokens(text)?.into_iter().map(|token| token.id).collect())
    }

    fn inner_encode(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.inner.encode(text, false).map_err(|e| RuntimeError::Tokenizer(e.to_string()))
    }
}

impl Tokenizer for ClipTokenizer {
    fn tokens(&self, text: &str) -> Result<Vec<Token>> {
        let encoding = self.inner_encode(text)?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        let all = |(&id, &(offset, _)): (&u32, &(usize, usize))| {
            let vectors = self.learned.ids(id).enumerate();
            vectors.map(move |(idx, id)| Token { id, offset, is_further: idx > 0 })
        };
        Ok(tokens.flat_map(all).collect())
    }

    fn frame(&self) -> Frame {
        Frame { start: Some(self.start), end: self.end, pad: self.pad, max_length: self.max_length }
    }
}

fn normalizer() -> tokenizers::Result<normalizers::Sequence> {
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?;
    Ok(normalizers::Sequence::new(vec![NFC.into(), spaces.into(), normalizers::Lowercase.into()]))
}

fn pre_tokenizer() -> tokenizers::Result<Sequence> {
    let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::default().add_prefix_space(false);
    Ok(Sequence::new(vec![words.into(), bytes.into()]))
}

/// Adds special tokens in their order, and checks that they have the ids that were decided on.
fn add_special_tokens(inner: &mut tokenizers::Tokenizer, special: &[SpecialToken]) -> Result<()> {
    for token in special {
        let added = AddedToken::from(token.content.as_str(), token.special)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .single_word(token.single_word)
            .normalized(token.normalized());
        if token.special {
            inner.add_special_tokens(&[added]);
        } else {
            inner.add_tokens(&[added]);
        }
        if inner.token_to_id(&token.content) != token.id {
            return Err(not_in_vocabulary(&token.content));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
