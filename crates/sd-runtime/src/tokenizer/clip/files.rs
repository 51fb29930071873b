//! The files of a tokenizer, of any generation of transformers, brought to one form.
//!
//! transformers 4 writes `vocab.json` and `merges.txt`, and before 4.34 `added_tokens.json`; transformers 5 writes
//! `tokenizer.json`, which counts before the others.
//! From the latter only vocabulary, merges and added tokens are taken: CLIP's normalisation is fixed, and transformers 5 rebuilds it in the same way.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;

use safe_files::{NamedFiles, ReadError};
use sd_spec::keys;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::special::{Sources, Special, SpecialToken, is_own_name};
use crate::config::{ConfigWarning, check_keys};
use crate::error::{Result, RuntimeError};
use crate::json;

/// Cap on each file; CLIP's own are below 4 MB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Everything that the files say.
#[derive(Debug)]
pub(super) struct TokenizerFiles {
    /// With all added tokens.
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) special: Special,
    /// Whether special tokens are matched in the text, or fall apart as any word.
    pub(super) splits_special: bool,
    /// The longest framed prompt, in tokens.
    pub(super) max_length: usize,
    pub(super) warnings: Vec<ConfigWarning>,
}

/// The part of `tokenizer.json` that is read; the table of its keys has the rest.
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
    pub(super) fn read(files: &dyn NamedFiles) -> Result<Self> {
        let name = "tokenizer.json";
        let words = match files.read_text(name, MAX_FILE_BYTES)? {
            Some(text) => Words::from_tokenizer_json(&files.place(name).display().to_string(), &text)?,
            None if !files.has("vocab.json") && !files.has("merges.txt") => {
                return Err(RuntimeError::Tokenizer(format!(
                    "{} holds none: neither tokenizer.json, nor vocab.json and merges.txt",
                    files.place("").display()
                )));
            }
            None => Words::from_vocab_and_merges(files)?,
        };
        let sources = Sources {
            config: read_json(files, "tokenizer_config.json")?,
            map: read_json(files, "special_tokens_map.json")?,
            added: read_json::<BTreeMap<String, u32>>(files, "added_tokens.json")?,
            json: Vec::new(),
        };
        Self::combine(words, sources)
    }

    /// From the text of `tokenizer.json` alone.
    #[cfg(test)]
    pub(super) fn from_tokenizer_json(text: &str) -> Result<Self> {
        Self::combine(Words::from_tokenizer_json("tokenizer.json", text)?, Sources::default())
    }

    /// From texts: vocabulary and merges as `vocab.json` and `merges.txt` have them, and what the sources say.
    #[cfg(test)]
    pub(super) fn from_texts(vocab: &str, merges: &str, sources: Sources) -> Result<Self> {
        let merges = merges.lines().skip(1).filter_map(split_merge).collect();
        Self::combine(Words { vocab: json::parse("vocab.json", vocab)?, merges, added: Vec::new() }, sources)
    }

    fn combine(words: Words, sources: Sources) -> Result<Self> {
        let Words { mut vocab, merges, added } = words;
        let mut warnings = Vec::new();
        for (document, object) in
            [("tokenizer_config.json", &sources.config), ("special_tokens_map.json", &sources.map)]
        {
            warnings.extend(check_keys(&keys::CLIP_TOKENIZER, document, object, is_own_name)?);
        }
        let special = Special::gather(Sources { json: added, ..sources }, &mut vocab)?;
        warnings.extend(special.warnings.iter().map(|reason| ConfigWarning::new("tokenizer", reason)));
        let setting = |key: &str| special.settings.get(key).filter(|value| !value.is_null());
        let max_length = max_length(setting("model_max_length").or_else(|| setting("max_len")))?;
        let splits_special = setting("split_special_tokens") == Some(&Value::Bool(true));
        Ok(Self { vocab, merges, splits_special, max_length, special, warnings })
    }
}

/// `model_max_length`; where no file says it, or says transformers' 10^30, there is no limit but the text encoder's.
fn max_length(value: Option<&Value>) -> Result<usize> {
    let Some(value) = value else { return Ok(usize::MAX) };
    match value.as_f64() {
        // Casts from floats saturate.
        Some(n) if n >= 2.0 => Ok(n as usize),
        _ => Err(RuntimeError::Tokenizer(format!(
            "model_max_length is {value}; a prompt of CLIP's has at least a start and an end token"
        ))),
    }
}

fn read_json<T: DeserializeOwned + Default>(files: &dyn NamedFiles, name: &str) -> Result<T> {
    match files.read_text(name, MAX_FILE_BYTES)? {
        Some(text) => json::parse(&files.place(name).display().to_string(), &text),
        None => Ok(T::default()),
    }
}

/// The text of a file that must be there, and where it is.
fn text_of(files: &dyn NamedFiles, name: &str) -> Result<(String, String)> {
    let path = files.place(name);
    let missing = || ReadError::Io { path: path.clone(), source: ErrorKind::NotFound.into() };
    let text = files.read_text(name, MAX_FILE_BYTES)?.ok_or_else(missing)?;
    Ok((path.display().to_string(), text))
}

impl Words {
    fn from_tokenizer_json(what: &str, text: &str) -> Result<Self> {
        let whole: Map<String, Value> = json::parse(what, text)?;
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
        check_sides(what, &whole)?;
        let merge = |(i, merge)| match merge {
            Merge::Pair(a, b) => Ok((a, b)),
            Merge::Line(line) => split_merge(&line).ok_or_else(|| bad_merge(what, i, &line)),
        };
        let merges = model.merges.into_iter().enumerate().map(merge).collect::<Result<_>>()?;
        Ok(Self { vocab: model.vocab, merges, added: file.added_tokens })
    }

    fn from_vocab_and_merges(files: &dyn NamedFiles) -> Result<Self> {
        let (what, text) = text_of(files, "vocab.json")?;
        let vocab = json::parse(&what, &text)?;
        let (what, text) = text_of(files, "merges.txt")?;
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

/// Refuses a `tokenizer.json` whose `padding` or `truncation` is on the left, as the configuration's keys are refused.
///
/// Of both objects transformers 5 takes nothing else that would count: lengths and the padding token are CLIP's own.
fn check_sides(what: &str, whole: &Map<String, Value>) -> Result<()> {
    for key in ["padding", "truncation"] {
        match whole.get(key).and_then(|object| object.get("direction")) {
            None => {}
            Some(Value::String(side)) if side == "Right" => {}
            Some(side) => {
                return Err(RuntimeError::Tokenizer(format!(
                    "{what}: {key} on side {side} is not implemented, only \"Right\""
                )));
            }
        }
    }
    Ok(())
}

fn split_merge(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    (!a.is_empty() && !b.is_empty() && !b.contains(' ')).then(|| (a.to_owned(), b.to_owned()))
}

fn bad_merge(what: &str, index: usize, line: &str) -> RuntimeError {
    let shown: String = line.chars().take(80).collect();
    RuntimeError::Tokenizer(format!("{what}: entry {} is not a pair of tokens: {shown:?}", index + 1))
}
