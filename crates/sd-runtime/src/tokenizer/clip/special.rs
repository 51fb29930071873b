//! Which tokens are matched in the text before words are cut, and with which ids.
//!
//! Rules of transformers 5.24 (`PreTrainedTokenizerBase._from_pretrained`, `TokenizersBackend.__init__`); 4.44 has the
//! same but where a comment says otherwise:
//!
//! - `added_tokens_decoder` in `tokenizer_config.json` says all that is to be said: neither `special_tokens_map.json`,
//!   nor `added_tokens.json`, nor the added tokens of `tokenizer.json` count beside it.
//! - Without it every key of `special_tokens_map.json` overrides that of `tokenizer_config.json`, and added tokens come
//!   from `added_tokens.json` and, before those of the same id, from `tokenizer.json`.
//!
//! Ids are those that the files say. Where these leave a gap, the fast classes of transformers (all of 5) number on
//! without one, and then look up another token's embedding; 4.44's `CLIPTokenizer` keeps the ids, and so does this.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Result, RuntimeError};

/// The named tokens, in the order in which transformers adds them.
pub(super) const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Ids are handed to the text encoder as f32, which holds whole numbers up to here; no vocabulary comes near.
const MAX_ID: u32 = 1 << 24;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A token that is matched in the text before words are cut.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct SpecialToken {
    /// Its id, where a file says it.
    #[serde(default)]
    pub(super) id: Option<u32>,
    pub(super) content: String,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) single_word: bool,
    /// Whether it is matched after normalisation; where no file says so, tokens that are not special are.
    #[serde(default)]
    normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

impl SpecialToken {
    fn plain(content: &str) -> Self {
        Self {
            id: None,
            content: content.to_owned(),
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: None,
            special: true,
        }
    }

    /// Of `added_tokens.json`, which has nothing but content and id.
    fn added(content: &str, special: bool) -> Self {
        Self { special, ..Self::plain(content) }
    }

    pub(super) fn normalized(&self) -> bool {
        self.normalized.unwrap_or(!self.special)
    }
}

/// A token as configurations name it: its text, or an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Object(SpecialToken),
}

impl Named {
    fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Object(token) => &token.content,
        }
    }

    fn token(&self) -> SpecialToken {
        match self {
            Self::Text(text) => SpecialToken::plain(text),
            Self::Object(token) => token.clone(),
        }
    }
}

/// What the files say of tokens, each as it was read.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// `tokenizer_config.json`.
    pub(super) config: Map<String, Value>,
    /// `special_tokens_map.json`.
    pub(super) map: Map<String, Value>,
    /// `added_tokens.json`.
    pub(super) added: BTreeMap<String, u32>,
    /// `added_tokens` of `tokenizer.json`.
    pub(super) json: Vec<SpecialToken>,
}

/// All tokens that are matched in the text, in the order in which they are added, each with its id.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) tokens: Vec<SpecialToken>,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) unknown: String,
    pub(super) pad: String,
    /// The configuration in force: `tokenizer_config.json`, overridden by `special_tokens_map.json` where that counts.
    pub(super) settings: Map<String, Value>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

impl Special {
    /// Puts together what the files say; tokens that are not in the vocabulary join it.
    pub(super) fn gather(mut sources: Sources, vocab: &mut HashMap<String, u32>) -> Result<Self> {
        let mut warnings = Vec::new();
        let decoder = sources.config.remove("added_tokens_decoder").filter(|value| !value.is_null());
        let is_whole = decoder.is_some();
        let Extras { listed, late } = Extras::of(&sources, is_whole, &mut warnings)?;
        let mut settings = sources.config;
        if !is_whole {
            settings.extend(sources.map);
        }
        let names = names_of(&settings, &mut warnings)?;
        let numbered = match decoder {
            Some(decoder) => of_decoder(&decoder)?,
            None => {
                let is_special = |content: &str| {
                    let named = names.iter().filter(|(name, _)| NAMES.contains(&name.as_str())).map(|(_, token)| token);
                    named.chain(&listed).any(|token| token.content() == content)
                };
                of_added_files(&sources.added, sources.json, is_special)?
            }
        };
        let content =
            |wanted: &str| names.iter().find(|(name, _)| *name == wanted).map(|(_, t)| t.content().to_owned());
        let [start, end, unknown, pad] = ["bos_token", "eos_token", "unk_token", "pad_token"].map(content);
        let (start, end) = (start.unwrap_or_else(|| START.to_owned()), end.unwrap_or_else(|| END.to_owned()));
        let extras = listed.into_iter().chain(late);
        let mut tokens = in_order(numbered, names.into_iter().map(|(_, token)| token), extras);
        number(&mut tokens, [&start, &end], vocab, &mut warnings)?;
        // Those that frame a prompt stay without an id where no file has one: such a vocabulary is another model's.
        tokens.retain(|token| token.id.is_some());
        let or_end = |token: Option<String>| token.unwrap_or_else(|| END.to_owned());
        Ok(Self { tokens, unknown: or_end(unknown), pad: or_end(pad), start, end, settings, warnings })
    }
}

/// All tokens that have a name, with it.
fn names_of(settings: &Map<String, Value>, warnings: &mut Vec<String>) -> Result<Vec<(String, Named)>> {
    let mut names = Vec::new();
    for name in NAMES {
        names.extend(named(settings, name, warnings)?.map(|token| (name.to_owned(), token)));
    }
    // transformers 5 matches tokens under names of their own too; 4.44 does not.
    let own = settings.iter().filter(|(name, value)| is_own_name(name) && !value.is_null());
    let listed = settings.get("model_specific_special_tokens").and_then(Value::as_object).into_iter().flatten();
    for (name, value) in own.chain(listed) {
        names.push((name.clone(), parse(name, value)?));
    }
    Ok(names)
}

/// A key of `NAMES` as the settings say it, or as `CLIPTokenizer` has it by default.
fn named(settings: &Map<String, Value>, name: &str, warnings: &mut Vec<String>) -> Result<Option<Named>> {
    let default = match name {
        "bos_token" => Some(START),
        "eos_token" | "unk_token" | "pad_token" => Some(END),
        _ => None,
    };
    match (settings.get(name), default) {
        (Some(Value::Null), Some(_)) if matches!(name, "bos_token" | "eos_token") => Err(RuntimeError::Tokenizer(
            format!("{name} is null, and every prompt of CLIP's stands between two tokens"),
        )),
        (Some(Value::Null), Some(default)) => {
            warnings
                .push(format!("{name} is null, with which transformers cannot pad or encode; {default:?} is taken"));
            Ok(Some(Named::Text(default.to_owned())))
        }
        (None, Some(default)) => Ok(Some(Named::Text(default.to_owned()))),
        (None | Some(Value::Null), None) => Ok(None),
        (Some(value), default) => match (parse(name, value)?, default) {
            (token, Some(default)) if token.content().is_empty() => {
                warnings.push(format!("{name} is empty; {default:?} is taken"));
                Ok(None)
            }
            (token, _) => Ok(Some(token)),
        },
    }
}

/// True for names that a model gives to tokens of its own, as `image_token`.
pub(super) fn is_own_name(name: &str) -> bool {
    name.ends_with("_token") && !NAMES.contains(&name) && !["add_bos_token", "add_eos_token"].contains(&name)
}

fn parse(what: &str, value: &Value) -> Result<Named> {
    serde_json::from_value(value.clone())
        .map_err(|_| RuntimeError::Tokenizer(format!("{what} is {value}, neither a text nor a token with its content")))
}

/// Special tokens without a name: `extra_special_tokens`, which older files call `additional_special_tokens`.
#[derive(Debug, Default)]
struct Extras {
    listed: Vec<Named>,
    /// From `special_tokens_map.json` under the older name: transformers 5 sees them only after it has read
    /// `added_tokens.json`, whose tokens of the same content are therefore not special.
    late: Vec<Named>,
}

impl Extras {
    /// Where both files have such a list, transformers 5 takes that of `tokenizer_config.json` alone, 4.44 the union.
    fn of(sources: &Sources, is_whole: bool, warnings: &mut Vec<String>) -> Result<Self> {
        let (extra, additional) = ("extra_special_tokens", "additional_special_tokens");
        let mut listed = tokens_of(&sources.config, extra)?;
        if listed.is_empty() {
            listed = tokens_of(&sources.config, additional)?;
        }
        if is_whole {
            return Ok(Self { listed, late: Vec::new() });
        }
        let special = |token: Named| match token {
            Named::Object(token) => Named::Object(SpecialToken { special: true, ..token }),
            text => text,
        };
        listed.extend(tokens_of(&sources.map, extra)?.into_iter().map(special));
        let mut late: Vec<Named> = tokens_of(&sources.map, additional)?.into_iter().map(special).collect();
        if !listed.is_empty() {
            late.retain(|token| listed.iter().all(|t| t.content() != token.content()));
            for token in late.drain(..) {
                warnings.push(format!(
                    "{:?} of special_tokens_map.json is not taken as special: tokenizer_config.json has a list of its \
                     own, which counts alone, as in transformers 5",
                    token.content()
                ));
            }
        }
        Ok(Self { listed, late })
    }
}

/// A list of tokens, or a map of names to them.
fn tokens_of(map: &Map<String, Value>, key: &str) -> Result<Vec<Named>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(tokens)) => tokens.iter().map(|token| parse(key, token)).collect(),
        Some(Value::Object(tokens)) => tokens.values().map(|token| parse(key, token)).collect(),
        Some(other) => Err(RuntimeError::Tokenizer(format!("{key} is {other}, not a list of tokens"))),
    }
}

/// Tokens of `added_tokens.json`, and of `tokenizer.json`, which counts where both have an id.
fn of_added_files(
    added: &BTreeMap<String, u32>,
    json: Vec<SpecialToken>,
    is_special: impl Fn(&str) -> bool,
) -> Result<BTreeMap<u32, SpecialToken>> {
    let mut numbered: BTreeMap<u32, SpecialToken> = BTreeMap::new();
    for (content, &id) in added {
        if let Some(other) = numbered.insert(id, SpecialToken::added(content, is_special(content))) {
            return Err(RuntimeError::Tokenizer(format!(
                "added_tokens.json gives id {id} to both {:?} and {content:?}",
                other.content
            )));
        }
    }
    numbered.extend(json.into_iter().filter_map(|token| Some((token.id?, token))));
    Ok(numbered)
}

fn of_decoder(decoder: &Value) -> Result<BTreeMap<u32, SpecialToken>> {
    let fault = |what: String| RuntimeError::Tokenizer(format!("added_tokens_decoder {what}"));
    let entries = decoder.as_object().ok_or_else(|| fault(format!("is {decoder}, not an object")))?;
    let entry = |(id, token): (&String, &Value)| {
        let number = id.parse().map_err(|_| fault(format!("has a key {id:?} that is no id")))?;
        let token: SpecialToken =
            serde_json::from_value(token.clone()).map_err(|e| fault(format!("has under {id} no token: {e}")))?;
        Ok((number, SpecialToken { id: Some(number), ..token }))
    };
    entries.iter().map(entry).collect()
}

/// Numbered tokens by rising id, then those that have a name only; of two with one content the later says how it is matched.
fn in_order(
    numbered: BTreeMap<u32, SpecialToken>,
    names: impl Iterator<Item = Named>,
    extras: impl Iterator<Item = Named>,
) -> Vec<SpecialToken> {
    let mut tokens: Vec<SpecialToken> = Vec::new();
    for (id, token) in numbered {
        tokens.push(SpecialToken { id: Some(id), ..token });
    }
    let mut seen: Vec<Named> = Vec::new();
    for (token, is_named) in names.map(|t| (t, true)).chain(extras.map(|t| (t, false))) {
        if let Some(known) = tokens.iter_mut().find(|known| known.id.is_some() && known.content == token.content()) {
            known.special |= is_named;
            continue;
        }
        // Texts and objects are different things to transformers, even with one content.
        let is_text = |named: &Named| matches!(named, Named::Text(_));
        if seen.iter().any(|s| s.content() == token.content() && is_text(s) == is_text(&token)) {
            continue;
        }
        let mut new = token.token();
        new.id = None;
        new.special |= is_named;
        seen.push(token);
        match tokens.iter_mut().find(|known| known.content == new.content) {
            Some(known) => *known = SpecialToken { special: new.special || known.special, ..new },
            None => tokens.push(new),
        }
    }
    tokens.retain(|token| !token.content.is_empty());
    tokens
}

/// Gives every token its id, and the vocabulary every token; those that frame a prompt get none that no file has.
fn number(
    tokens: &mut [SpecialToken],
    framing: [&str; 2],
    vocab: &mut HashMap<String, u32>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let mut used: HashSet<u32> = vocab.values().copied().collect();
    let said = vocab.iter().map(|(content, &id)| (content.as_str(), id));
    let said = said.chain(tokens.iter().filter_map(|token| Some((token.content.as_str(), token.id?))));
    if let Some((content, id)) = said.into_iter().find(|(_, id)| *id > MAX_ID) {
        return Err(RuntimeError::Tokenizer(format!(
            "{content:?} has id {id}, beyond {MAX_ID}, which cannot be right"
        )));
    }
    for token in tokens {
        let content = &token.content;
        let next = used.iter().max().map_or(0, |max| max.saturating_add(1));
        let id = match (vocab.get(content).copied(), token.id) {
            (Some(known), Some(said)) if known != said => {
                return Err(RuntimeError::Tokenizer(format!(
                    "added token {content:?} has id {said} in the files, but {known} in the vocabulary"
                )));
            }
            (Some(known), _) => known,
            (None, Some(said)) if used.contains(&said) => {
                let other = vocab.iter().find(|(_, id)| **id == said).map_or("another token", |(other, _)| other);
                return Err(RuntimeError::Tokenizer(format!(
                    "added token {content:?} has id {said} in the files, which is that of {other:?}"
                )));
            }
            (None, Some(said)) => {
                if said > next {
                    warnings.push(format!(
                        "added token {content:?} has id {said}, beyond the next one, {next}; the files are followed, \
                         where transformers 5 would number on without a gap"
                    ));
                }
                said
            }
            (None, None) if framing.contains(&content.as_str()) => continue,
            (None, None) => {
                warnings.push(format!(
                    "{content:?} is not in the vocabulary and no file says its id; it gets {next}, as in transformers, \
                     which the text encoder may have no embedding for"
                ));
                next
            }
        };
        vocab.insert(content.clone(), id);
        used.insert(id);
        token.id = Some(id);
    }
    Ok(())
}

pub(super) fn not_in_vocabulary(content: &str) -> RuntimeError {
    RuntimeError::Tokenizer(format!("special token {content:?} is not in the vocabulary"))
}
