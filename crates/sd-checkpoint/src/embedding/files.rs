//! What new words change in the small files of a checkpoint.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The end of every text in CLIP's vocabulary.
const END: &str = "<|endoftext|>";
/// What `eos_token_id` is in configurations that were written before transformers 4.31: the token with the largest id is
/// the last, which new words would be.
const OLD_END: u64 = 2;

/// A tokenizer's files as far as they say which tokens there are.
#[derive(Debug, Default)]
pub(super) struct TokenizerFiles {
    /// `vocab.json`.
    pub(super) vocab: Option<Value>,
    /// `tokenizer.json`.
    pub(super) whole: Option<Value>,
    /// `tokenizer_config.json`.
    pub(super) config: Option<Value>,
    /// `added_tokens.json`.
    pub(super) added: Option<Value>,
}

impl TokenizerFiles {
    /// Names of the files in a tokenizer's folder.
    pub(super) const CONFIG: &'static str = "tokenizer_config.json";
    pub(super) const ADDED: &'static str = "added_tokens.json";
    pub(super) const VOCAB: &'static str = "vocab.json";
    pub(super) const WHOLE: &'static str = "tokenizer.json";

    /// Whether there is any.
    pub(super) const fn is_there(&self) -> bool {
        self.vocab.is_some() || self.whole.is_some()
    }

    /// Every token with its id.
    pub(super) fn ids(&self) -> BTreeMap<&str, u64> {
        let whole = self.whole.as_ref();
        let model = object(whole.and_then(|whole| whole.get("model")?.get("vocab")));
        let plain = object(self.vocab.as_ref()).chain(model).chain(object(self.added.as_ref()));
        let mut ids: BTreeMap<&str, u64> =
            plain.filter_map(|(token, id)| Some((token.as_str(), id.as_u64()?))).collect();
        let listed = whole.and_then(|whole| whole.get("added_tokens")?.as_array()).into_iter().flatten();
        ids.extend(listed.filter_map(|token| Some((token.get("content")?.as_str()?, token.get("id")?.as_u64()?))));
        let decoder = self.decoder().into_iter().flatten();
        ids.extend(decoder.filter_map(|(id, token)| Some((token.get("content")?.as_str()?, id.parse().ok()?))));
        ids
    }

    /// Tokens by id, in a configuration that counts before every other file.
    fn decoder(&self) -> Option<&Map<String, Value>> {
        self.config.as_ref()?.get("added_tokens_decoder")?.as_object()
    }

    /// The id of the token that ends every text; without it, the last of the vocabulary.
    pub(super) fn end(&self, n_tokens: u64) -> u64 {
        self.ids().get(END).copied().unwrap_or_else(|| n_tokens.saturating_sub(1))
    }

    /// The file that new tokens stand in, by its name, with them in it.
    pub(super) fn with(&self, tokens: &[(String, u64)]) -> (&'static str, Value) {
        if let (Some(decoder), Some(config)) = (self.decoder(), &self.config) {
            let (mut decoder, mut config) = (decoder.clone(), config.clone());
            for (content, id) in tokens {
                // As transformers writes a token that was added by its text alone.
                let token = json!({
                    "content": content,
                    "lstrip": false,
                    "normalized": true,
                    "rstrip": false,
                    "single_word": false,
                    "special": false,
                });
                decoder.insert(id.to_string(), token);
            }
            config["added_tokens_decoder"] = Value::Object(decoder);
            return (Self::CONFIG, config);
        }
        let mut added = self.added.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        added.extend(tokens.iter().map(|(content, id)| (content.clone(), json!(id))));
        (Self::ADDED, Value::Object(added))
    }
}

/// The entries of an object, if there is one.
fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// A text encoder's configuration with so many tokens, of which `end` ends a text.
pub(super) fn encoder(mut config: Value, n_tokens: u64, end: u64) -> Value {
    config["vocab_size"] = json!(n_tokens);
    if config.get("eos_token_id").and_then(Value::as_u64) == Some(OLD_END) {
        config["eos_token_id"] = json!(end);
    }
    config
}
