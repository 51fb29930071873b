//! The tokenizers' files. CLIP's vocabulary follows from its merges and is not stored.
//!
//! `clip-merges.txt.gz` is OpenAI CLIP's list of merges (MIT licence, copyright 2021 OpenAI) as transformers writes it.

mod unigram;

use std::{fs, io::Read, path::Path};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

use super::write_json;

const MERGES: &[u8] = include_bytes!("clip-merges.txt.gz");
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

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
            Self::Clip(padding) => write_clip(dir, padding),
            Self::T5 => unigram::write(dir, &vocabulary(&merges()?)),
        }
    }
}

/// Which token fills a short prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// The end token, as OpenAI's CLIP.
    EndToken,
    /// "!", whose id is 0, as OpenCLIP.
    Zero,
}

/// Writes CLIP's `merges.txt`, `vocab.json`, `tokenizer_config.json` and `special_tokens_map.json`.
fn write_clip(dir: &Path, padding: Padding) -> Result<()> {
    let merges = merges()?;
    let vocab: Map<String, Value> =
        vocabulary(&merges).into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    fs::write(dir.join("vocab.json"), serde_json::to_string(&vocab)?)?;
    fs::write(dir.join("merges.txt"), merges)?;
    write_json(&dir.join("tokenizer_config.json"), tokenizer_config(padding))?;
    write_json(&dir.join("special_tokens_map.json"), special_tokens_map(padding))
}

fn merges() -> Result<String> {
    let mut merges = String::new();
    GzDecoder::new(MERGES).read_to_string(&mut merges).context("clip-merges.txt.gz does not unpack")?;
    Ok(merges)
}

/// Tokens by id: every byte, every byte at the end of a word, every merge, start and end.
fn vocabulary(merges: &str) -> Vec<String> {
    let bytes: Vec<String> = byte_symbols().into_iter().map(String::from).collect();
    let ends = bytes.iter().map(|symbol| format!("{symbol}</w>"));
    // The first line is a version.
    let merged = merges.lines().skip(1).map(|line| line.replace(' ', ""));
    let specials = [START, END].map(String::from);
    bytes.iter().cloned().chain(ends).chain(merged).chain(specials).collect()
}

/// GPT-2's printable stand-in for each byte, in the order of their ids: printable Latin-1 characters stand for
/// themselves and come first, the other bytes in order get the characters from U+0100 on.
fn byte_symbols() -> Vec<char> {
    let is_printable = |c: &char| matches!(c, '!'..='~' | '¡'..='¬' | '®'..='ÿ');
    let printable: Vec<char> = ('\0'..='ÿ').filter(is_printable).collect();
    let n_others = 256 - printable.len() as u32;
    let others = (0x100..0x100 + n_others).filter_map(char::from_u32);
    printable.iter().copied().chain(others).collect()
}

impl Padding {
    fn token(self) -> &'static str {
        match self {
            Self::EndToken => END,
            Self::Zero => "!",
        }
    }
}

fn tokenizer_config(padding: Padding) -> Value {
    let special = |content: &str, normalized: bool| {
        json!({
            "content": content,
            "lstrip": false,
            "normalized": normalized,
            "rstrip": false,
            "single_word": false,
            "special": true,
        })
    };
    let mut added = json!({"49406": special(START, true), "49407": special(END, true)});
    if padding == Padding::Zero {
        added["0"] = special(padding.token(), false);
    }
    json!({
        "added_tokens_decoder": added,
        "bos_token": START,
        "clean_up_tokenization_spaces": true,
        "eos_token": END,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": padding.token(),
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": END,
    })
}

fn special_tokens_map(padding: Padding) -> Value {
    let entry = |content: &str| json!({"content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false});
    json!({
        "bos_token": entry(START),
        "eos_token": entry(END),
        "pad_token": padding.token(),
        "unk_token": entry(END),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_vocabulary_has_clips_size_and_known_ids() {
        let vocab = vocabulary(&merges().expect("gzip"));
        assert_eq!(vocab.len(), 49408);
        assert_eq!(vocab.iter().collect::<HashSet<_>>().len(), vocab.len());
        // OpenAI CLIP: "!" is 0, "a</w>" 320, "photo</w>" 1125, "cat</w>" 2368.
        let ids = [(0, "!"), (320, "a</w>"), (1125, "photo</w>"), (2368, "cat</w>"), (49406, START), (49407, END)];
        for (id, token) in ids {
            assert_eq!(vocab[id], token);
        }
    }
}
