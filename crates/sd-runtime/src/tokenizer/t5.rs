//! T5's tokenizer, id for id what Hugging Face's gives.
//!
//! SentencePiece's Unigram model: text is normalised by a table in the file, cut at spaces, each word begins with "▁", and of
//! all ways to cut a word into pieces the likeliest counts. Special tokens are found inside the text too.
//! `tokenizer.json` says all of it, and the `tokenizers` crate reads and does it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use safe_files::{Folder, NamedFiles};
use serde_json::{Map, Value};

use super::{Frame, Token, Tokenizer};
use crate::error::{Result, RuntimeError};
use crate::json;

/// Cap on each file; that of T5 XXL has 2.4 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A T5 tokenizer.
pub struct T5Tokenizer {
    inner: tokenizers::Tokenizer,
    end: u32,
    pad: u32,
    max_length: usize,
}

impl std::fmt::Debug for T5Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("T5Tokenizer")
            .field("vocab_size", &self.inner.get_vocab_size(true))
            .field("end", &self.end)
            .field("pad", &self.pad)
            .field("max_length", &self.max_length)
            .finish_non_exhaustive()
    }
}

impl T5Tokenizer {
    /// Reads a `tokenizer_3` directory: `tokenizer.json`, and `tokenizer_config.json` where it is there.
    ///
    /// # Errors
    /// [`RuntimeError::File`] for missing files, [`RuntimeError::Json`] and [`RuntimeError::Tokenizer`] for malformed ones,
    /// and for a directory that has SentencePiece's own file only.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::from_files(&Folder(dir))
    }

    /// As [`from_dir`](Self::from_dir), from files that need not lie in a directory.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn from_files(files: &dyn NamedFiles) -> Result<Self> {
        let path = files.place("tokenizer.json");
        let text = files.read_text("tokenizer.json", MAX_FILE_BYTES)?;
        if text.is_none() && files.has("spiece.model") {
            return Err(RuntimeError::Tokenizer(format!(
                "{} has spiece.model, but no tokenizer.json, which is what is read; T5TokenizerFast of transformers writes \
                 it: T5TokenizerFast.from_pretrained(FOLDER).save_pretrained(FOLDER)",
                files.place("").display()
            )));
        }
        let text = text.ok_or_else(|| RuntimeError::Tokenizer(format!("{} is missing", path.display())))?;
        let what = path.display().to_string();
        check_model(&what, &json::parse(&what, &text)?)?;
        let path = files.place("tokenizer_config.json");
        let config = match files.read_text("tokenizer_config.json", MAX_FILE_BYTES)? {
            Some(text) => json::parse(&path.display().to_string(), &text)?,
            None => Map::new(),
        };
        Self::build(&what, &text, &config)
    }

    fn build(what: &str, text: &str, config: &Map<String, Value>) -> Result<Self> {
        let inner = guarded(|| tokenizers::Tokenizer::from_bytes(text))
            .map_err(|e| RuntimeError::Tokenizer(format!("{what}: {e}")))?;
        let id = |key: &str, usual: &str| {
            let content = content_of(config.get(key)).unwrap_or(usual);
            let missing = || RuntimeError::Tokenizer(format!("{what}: {key} {content:?} is not in the vocabulary"));
            inner.token_to_id(content).ok_or_else(missing)
        };
        let (end, pad) = (id("eos_token", "</s>")?, id("pad_token", "<pad>")?);
        Ok(Self { end, pad, max_length: max_length(config.get("model_max_length"))?, inner })
    }

    /// The largest id that a prompt can have; the text encoder needs an embedding for it.
    #[must_use]
    pub fn largest_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or_default()
    }
}

impl Tokenizer for T5Tokenizer {
    fn tokens(&self, text: &str) -> Result<Vec<Token>> {
        let encoding = guarded(|| self.inner.encode(text, false)).map_err(RuntimeError::Tokenizer)?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(tokens.map(|(&id, &(offset, _))| Token { id, offset, is_further: false }).collect())
    }

    fn frame(&self) -> Frame {
        Frame { start: None, end: self.end, pad: self.pad, max_length: self.max_length }
    }
}

/// What a call of `tokenizers` gives; a damaged table of its normaliser makes it panic, which is an error here.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("the tokenizer's file is damaged: its table of characters leads nowhere".to_owned()),
    }
}

/// Refuses models of other kinds by name: the ids would be another vocabulary's.
fn check_model(what: &str, file: &Map<String, Value>) -> Result<()> {
    let kind = file.get("model").and_then(|model| model.get("type")).and_then(Value::as_str);
    match kind {
        Some("Unigram") => Ok(()),
        other => {
            let kind = other.unwrap_or("no kind");
            Err(RuntimeError::Tokenizer(format!("{what} holds a model of {kind}; T5's is of Unigram")))
        }
    }
}

/// The text of a special token, which files give as such or in an object.
fn content_of(token: Option<&Value>) -> Option<&str> {
    let token = token?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// `model_max_length`; where the file does not say it, or says transformers' 10^30, there is no limit.
fn max_length(value: Option<&Value>) -> Result<usize> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(usize::MAX) };
    match value.as_f64() {
        // Casts from floats saturate.
        Some(n) if n >= 1.0 => Ok(n as usize),
        _ => Err(RuntimeError::Tokenizer(format!(
            "model_max_length is {value}; a prompt of T5's has at least an end token"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "version": "1.0",
        "added_tokens": [
            {"id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
        ],
        "normalizer": null, "decoder": null, "post_processor": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
            "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["\u2581a", -1.0], ["\u2581", -2.0], ["b", -3.0], ["c", -3.5]]}
    }"#;

    fn from_files(files: &[(&str, &str)]) -> Result<T5Tokenizer> {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        T5Tokenizer::from_dir(dir.path())
    }

    #[test]
    fn words_are_cut_and_special_tokens_found() {
        let tokenizer = from_files(&[("tokenizer.json", FILE)]).unwrap();
        let tokens = tokenizer.tokens("abc </s> x").unwrap();
        assert_eq!(tokens.iter().map(|t| t.id).collect::<Vec<_>>(), [3, 5, 6, 4, 1, 4, 2]);
        assert_eq!(tokens[2].offset, 2);
        let frame = tokenizer.frame();
        assert_eq!((frame.start, frame.end, frame.pad, frame.max_length), (None, 1, 0, usize::MAX));
        assert_eq!(tokenizer.largest_id(), 6);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |files: &[(&str, &str)]| from_files(files).unwrap_err().to_string();
        let only = error(&[("spiece.model", "x")]);
        assert!(only.contains("has spiece.model, but no tokenizer.json"), "{only}");
        assert!(error(&[]).contains("tokenizer.json"));
        let other = FILE.replace("\"Unigram\"", "\"BPE\"");
        assert!(error(&[("tokenizer.json", &other)]).contains("holds a model of BPE; T5's is of Unigram"));
        assert!(error(&[("tokenizer.json", "{}")]).contains("no kind"));
        let outside = FILE.replace("\"unk_id\": 2", "\"unk_id\": 9");
        assert!(error(&[("tokenizer.json", &outside)]).contains("tokenizer.json"));
        let config = |config: &'static str| [("tokenizer.json", FILE), ("tokenizer_config.json", config)];
        let missing = error(&config(r#"{"eos_token": "<end>"}"#));
        assert!(missing.contains("eos_token \"<end>\" is not in the vocabulary"), "{missing}");
        assert!(error(&config(r#"{"model_max_length": 0}"#)).contains("model_max_length is 0"));
        let fine = from_files(&config(r#"{"model_max_length": 512, "pad_token": {"content": "<pad>"}}"#)).unwrap();
        assert_eq!(fine.frame().max_length, 512);
    }

    #[test]
    fn a_damaged_table_of_characters_is_an_error() {
        // A trie whose first unit points far beyond its end.
        let table = "BAAAAP////8=";
        let normalizer = format!(r#""normalizer": {{"type": "Precompiled", "precompiled_charsmap": "{table}"}}"#);
        let damaged = FILE.replace("\"normalizer\": null", &normalizer);
        let read = from_files(&[("tokenizer.json", &damaged)]);
        let error = read.and_then(|tokenizer| tokenizer.tokens("abc")).unwrap_err().to_string();
        assert!(error.contains("damaged") || error.contains("tokenizer.json"), "{error}");
    }
}
