//! The files of a tokenizer, of either generation of transformers, brought to one form.
//!
//! transformers 4 writes `vocab.json` and `merges.txt`, transformers 5 writes `tokenizer.json`.
//! From the latter only vocabulary, merges and added tokens are taken: CLIP's normalisation is fixed, and transformers 5 rebuilds it in the same way.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Result, RuntimeError};
use crate::files::{read_text, read_text_if_present};
use crate::json;

/// Cap on each file; CLIP's own are below 4 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// CLIP's window, where no file says otherwise.
const CLIP_MAX_LENGTH: usize = 77;

/// Everything that the files say.
#[derive(Debug)]
pub(super) struct TokenizerFiles {
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    /// All special and added tokens, by rising id, unnumbered ones last.
    pub(super) special: Vec<SpecialToken>,
    pub(super) start: SpecialToken,
    pub(super) end: SpecialToken,
    pub(super) unknown: SpecialToken,
    pub(super) pad: SpecialToken,
    pub(super) max_length: usize,
}

/// A token that is matched in the text before words are cut.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct SpecialToken {
    #[serde(default)]
    pub(super) id: Option<u32>,
    pub(super) content: String,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) single_word: bool,
    /// Whether it is matched after normalisation.
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default = "yes")]
    pub(super) special: bool,
}

fn yes() -> bool {
    true
}

impl SpecialToken {
    fn plain(content: &str) -> Self {
        Self {
            id: None,
            content: content.to_owned(),
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
            special: true,
        }
    }
}

/// A special token as configurations name it: its text, or an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenName {
    Text(String),
    Object(SpecialToken),
}

impl TokenName {
    fn token(&self) -> SpecialToken {
        match self {
            Self::Text(text) => SpecialToken::plain(text),
            Self::Object(token) => token.clone(),
        }
    }
}

/// `tokenizer_config.json` and `special_tokens_map.json` share these keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Option<TokenName>,
    eos_token: Option<TokenName>,
    unk_token: Option<TokenName>,
    pad_token: Option<TokenName>,
    /// transformers writes 10^30 for "no limit".
    model_max_length: Option<f64>,
    added_tokens_decoder: BTreeMap<u32, SpecialToken>,
}

impl Config {
    fn read(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        match read_text_if_present(&path, MAX_FILE_BYTES)? {
            Some(text) => json::parse(&path.display().to_string(), &text),
            None => Ok(Self::default()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<SpecialToken>,
    model: ModelJson,
}

#[derive(Debug, Deserialize)]
struct ModelJson {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

/// Older files write a merge as one string, newer ones as a pair.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// Vocabulary, merges and added tokens: what both generations of files have.
struct Words {
    vocab: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    added: Vec<SpecialToken>,
}

impl TokenizerFiles {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let words = match read_text_if_present(&path, MAX_FILE_BYTES)? {
            Some(text) => Words::from_tokenizer_json(&path.display().to_string(), &text)?,
            None => Words::from_vocab_and_merges(dir)?,
        };
        let config = Config::read(dir, "tokenizer_config.json")?;
        let map = Config::read(dir, "special_tokens_map.json")?;
        Ok(Self::combine(words, config, map))
    }

    /// From the text of `tokenizer.json` alone.
    #[cfg(test)]
    pub(super) fn from_tokenizer_json(text: &str) -> Result<Self> {
        let words = Words::from_tokenizer_json("tokenizer.json", text)?;
        Ok(Self::combine(words, Config::default(), Config::default()))
    }

    fn combine(words: Words, config: Config, map: Config) -> Self {
        let mut special: BTreeMap<String, SpecialToken> = BTreeMap::new();
        for token in words.added {
            special.insert(token.content.clone(), token);
        }
        for (id, token) in config.added_tokens_decoder {
            special.insert(token.content.clone(), SpecialToken { id: Some(id), ..token });
        }
        let mut named = |own: &Option<TokenName>, other: &Option<TokenName>, default: &str| {
            let name = own.as_ref().or(other.as_ref());
            let token = name.map_or_else(|| SpecialToken::plain(default), TokenName::token);
            special.entry(token.content.clone()).or_insert(token).clone()
        };
        let start = named(&config.bos_token, &map.bos_token, "<|startoftext|>");
        let end = named(&config.eos_token, &map.eos_token, "<|endoftext|>");
        let unknown = named(&config.unk_token, &map.unk_token, &end.content);
        let pad = named(&config.pad_token, &map.pad_token, &end.content);
        let mut special: Vec<SpecialToken> = special.into_values().collect();
        special.sort_by_key(|token| token.id.unwrap_or(u32::MAX));
        let max_length = config.model_max_length.map_or(CLIP_MAX_LENGTH, |n| n as usize);
        Self { vocab: words.vocab, merges: words.merges, special, start, end, unknown, pad, max_length }
    }
}

impl Words {
    fn from_tokenizer_json(what: &str, text: &str) -> Result<Self> {
        let file: TokenizerJson = json::parse(what, text)?;
        let model = file.model;
        if model.kind.as_deref().is_some_and(|kind| kind != "BPE")
            || model.end_of_word_suffix.as_deref() != Some("</w>")
        {
            return Err(RuntimeError::Tokenizer(format!(
                "{what} is not CLIP's: model type {:?} with word end {:?}, expected \"BPE\" with \"</w>\"",
                model.kind.unwrap_or_default(),
                model.end_of_word_suffix.unwrap_or_default()
            )));
        }
        let merge = |(i, merge)| match merge {
            Merge::Pair(a, b) => Ok((a, b)),
            Merge::Line(line) => split_merge(&line).ok_or_else(|| bad_merge(what, i, &line)),
        };
        let merges = model.merges.into_iter().enumerate().map(merge).collect::<Result<_>>()?;
        Ok(Self { vocab: model.vocab, merges, added: file.added_tokens })
    }

    fn from_vocab_and_merges(dir: &Path) -> Result<Self> {
        let path = dir.join("vocab.json");
        let vocab = json::parse(&path.display().to_string(), &read_text(&path, MAX_FILE_BYTES)?)?;
        let path = dir.join("merges.txt");
        let text = read_text(&path, MAX_FILE_BYTES)?;
        let what = path.display().to_string();
        // Only the version line is a comment: "# #" and its like are merges.
        let merges = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.starts_with("#version") && !line.trim().is_empty())
            .map(|(i, line)| split_merge(line).ok_or_else(|| bad_merge(&what, i, line)))
            .collect::<Result<_>>()?;
        Ok(Self { vocab, merges, added: Vec::new() })
    }
}

fn split_merge(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    (!a.is_empty() && !b.is_empty() && !b.contains(' ')).then(|| (a.to_owned(), b.to_owned()))
}

fn bad_merge(what: &str, index: usize, line: &str) -> RuntimeError {
    let shown: String = line.chars().take(80).collect();
    RuntimeError::Tokenizer(format!("{what}: entry {} is not a pair of tokens: {shown:?}", index + 1))
}
