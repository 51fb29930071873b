//! Tokenizer files of every generation of transformers give the ids that transformers gives.
//!
//! `data/tokenizer_files.json` holds the files of each case, and the ids of transformers 5.24.0's `CLIPTokenizer`; where
//! `from` says so, those of another version, with the reason. Cases that transformers 4.44.2 agrees on are not marked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use sd_runtime::prompt::Window;
use sd_runtime::tokenizer::ClipTokenizer;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Length to which prompts are padded.
const LENGTH: usize = 14;

#[derive(Deserialize)]
struct Document {
    /// Tokens of `vocab.json` by id.
    vocab: Vec<String>,
    merges: Vec<String>,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    /// By name: an object for JSON, a text for anything else. `vocab.json` and `merges.txt` are added where `base` is true.
    files: BTreeMap<String, Value>,
    base: bool,
    texts: Vec<String>,
    pad: u32,
    ids: Vec<Vec<u32>>,
    #[serde(default)]
    warns: Vec<String>,
}

/// A `tokenizer.json` of the vocabulary, with more added tokens, and with changed keys of its own and of its model.
fn tokenizer_json(document: &Document, change: &Value) -> Value {
    let vocab: Map<String, Value> = document.vocab.iter().zip(0..).map(|(t, id)| (t.clone(), json!(id))).collect();
    let framing = document.vocab.len() - 2;
    let added = |id: usize| json!({"id": id, "content": document.vocab[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let mut tokens = vec![added(framing), added(framing + 1)];
    tokens.extend(change["added_tokens"].as_array().cloned().unwrap_or_default());
    let mut file = json!({
        "version": "1.0", "added_tokens": tokens,
        "model": {"type": "BPE", "unk_token": "<|endoftext|>", "end_of_word_suffix": "</w>", "vocab": vocab, "merges": document.merges},
    });
    for (key, value) in change["with"].as_object().into_iter().flatten().filter(|(key, _)| *key != "model") {
        file[key] = value.clone();
    }
    for (key, value) in change["with"]["model"].as_object().into_iter().flatten() {
        file["model"][key] = value.clone();
    }
    file
}

fn folder(document: &Document, case: &Case) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    if case.base {
        let vocab: BTreeMap<&str, usize> = document.vocab.iter().map(String::as_str).zip(0..).collect();
        files.insert("vocab.json", json!(vocab).to_string());
        files.insert("merges.txt", format!("#version: 0.2\n{}\n", document.merges.join("\n")));
    }
    for (name, content) in &case.files {
        let text = match content {
            Value::String(text) => text.clone(),
            change if name == "tokenizer.json" => tokenizer_json(document, change).to_string(),
            json => json.to_string(),
        };
        files.insert(name, text);
    }
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn files_of_every_generation_give_transformers_ids() {
    let document: Document = serde_json::from_str(include_str!("data/tokenizer_files.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in &document.cases {
        let dir = folder(&document, case);
        let tokenizer = match ClipTokenizer::from_dir(dir.path()) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        if tokenizer.pad_id() != case.pad {
            wrong.push(format!("{name}: pad {}, wanted {}", tokenizer.pad_id(), case.pad));
        }
        for (text, want) in case.texts.iter().zip(&case.ids) {
            let got = Window::of(&tokenizer, text, LENGTH.max(want.len())).unwrap().ids;
            if got != *want {
                wrong.push(format!("{name}: {text:?}\n  got    {got:?}\n  wanted {want:?}"));
            }
        }
        let warnings: Vec<String> = tokenizer.warnings().iter().map(ToString::to_string).collect();
        let is_said = case.warns.iter().all(|wanted| warnings.iter().any(|warning| warning.contains(wanted)));
        if !is_said || warnings.len() != case.warns.len() {
            wrong.push(format!("{name}: warnings {warnings:?}, wanted {:?}", case.warns));
        }
    }
    assert!(document.cases.len() > 60);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
