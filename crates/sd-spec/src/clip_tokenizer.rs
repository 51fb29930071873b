//! CLIP's tokenizer files, for checkpoints that come without: every Stable Diffusion has the same vocabulary.
//!
//! `clip_tokenizer/clip-merges.txt.gz` is OpenAI CLIP's list of merges as transformers writes it; the vocabulary follows from
//! it and is not stored. Its licence stands beside it.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

const MERGES: &[u8] = include_bytes!("clip_tokenizer/clip-merges.txt.gz");
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Which token fills a short prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The end token, as OpenAI's CLIP.
    EndToken,
    /// "!", whose id is 0, as OpenCLIP.
    Zero,
}

/// The files of a tokenizer.
pub const FILES: [&str; 4] = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];

/// A file of CLIP's tokenizer, if it is one of [`FILES`].
#[must_use]
pub fn file(name: &str, padding: Padding) -> Option<Vec<u8>> {
    let pretty = |value: Value| Some(format!("{value:#}\n").into_bytes());
    match name {
        "vocab.json" => Some(vocabulary_json().into_bytes()),
        "merges.txt" => Some(merges().into_bytes()),
        "tokenizer_config.json" => pretty(tokenizer_config(padding)),
        "special_tokens_map.json" => pretty(special_tokens_map(padding)),
        _ => None,
    }
}

/// CLIP's tokens by id: every byte, every byte at the end of a word, every merge, start and end.
#[must_use]
pub fn tokens() -> Vec<String> {
    vocabulary(&merges())
}

fn merges() -> String {
    let mut merges = String::new();
    GzDecoder::new(MERGES).read_to_string(&mut merges).expect("invariant: a file of this crate, which a test unpacks");
    merges
}

fn vocabulary_json() -> String {
    let tokens = tokens().into_iter().enumerate();
    let vocabulary: Map<String, Value> = tokens.map(|(id, token)| (token, id.into())).collect();
    Value::from(vocabulary).to_string()
}

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
    const fn token(self) -> &'static str {
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
        let vocab = vocabulary(&merges());
        assert_eq!(vocab.len(), 49408);
        assert_eq!(vocab.iter().collect::<HashSet<_>>().len(), vocab.len());
        // OpenAI CLIP: "!" is 0, "a</w>" 320, "photo</w>" 1125, "cat</w>" 2368.
        let ids = [(0, "!"), (320, "a</w>"), (1125, "photo</w>"), (2368, "cat</w>"), (49406, START), (49407, END)];
        for (id, token) in ids {
            assert_eq!(vocab[id], token);
        }
    }

    #[test]
    fn the_files_say_what_real_ones_say() {
        let Some(golden) = testkit::golden() else { return };
        for (folder, padding) in [("tiny-sd15", Padding::EndToken), ("tiny-sd21", Padding::Zero)] {
            for name in FILES {
                let theirs = std::fs::read(golden.join(format!("checkpoints/{folder}/tokenizer/{name}"))).unwrap();
                let ours = file(name, padding).unwrap();
                if name.ends_with(".txt") {
                    assert_eq!(ours, theirs, "{folder}: {name}");
                } else {
                    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                    assert_eq!(json(&ours), json(&theirs), "{folder}: {name}");
                }
            }
        }
    }
}
