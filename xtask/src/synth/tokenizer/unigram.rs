//! Files of T5's kind of tokenizer, of T5's size: pieces with probabilities, as the tokenizers library writes them.
//!
//! The pieces are not T5's, which are Google's file and not ours to make: words of CLIP's vocabulary stand in for them.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::synth::write_json;

/// Pieces beside the extra ones; T5's embedding has 28 rows more than both.
const N_PIECES: usize = 32_000;
/// Special tokens behind the pieces, numbered from the last.
const N_EXTRA: usize = 100;
/// Special tokens before the pieces, in the order of their ids.
const SPECIALS: [&str; 3] = ["<pad>", "</s>", "<unk>"];
/// What a word begins with.
const SPACE: &str = "\u{2581}";
/// Longest prompt that T5 was trained on.
const MAX_LENGTH: usize = 512;

/// Writes `tokenizer.json` and `tokenizer_config.json`; `clip` are CLIP's tokens by id.
pub(super) fn write(dir: &Path, clip: &[String]) -> Result<()> {
    let pieces = pieces(clip);
    ensure!(pieces.len() == N_PIECES + N_EXTRA, "CLIP's vocabulary gives {} pieces only", pieces.len());
    let path = dir.join("tokenizer.json");
    fs::write(&path, tokenizer(&pieces).to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let config = json!({
        "clean_up_tokenization_spaces": true,
        "eos_token": SPECIALS[1],
        "extra_ids": N_EXTRA,
        "model_max_length": MAX_LENGTH,
        "pad_token": SPECIALS[0],
        "tokenizer_class": "T5Tokenizer",
        "unk_token": SPECIALS[2],
    });
    write_json(&dir.join("tokenizer_config.json"), config)
}

/// Pieces by id, the likeliest first.
///
/// CLIP marks ends of words, and T5 their beginnings: tokens at an end become whole words, others stand within one.
fn pieces(clip: &[String]) -> Vec<String> {
    // Its special tokens begin so.
    let is_plain = |token: &&String| token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.starts_with("<|");
    let as_piece = |token: &String| match token.strip_suffix("</w>") {
        Some(word) => format!("{SPACE}{word}"),
        None => token.clone(),
    };
    let mut seen = HashSet::new();
    let own = SPECIALS.map(str::to_owned).into_iter().chain([SPACE.to_owned()]);
    let pieces =
        own.chain(clip.iter().filter(is_plain).map(as_piece)).filter(|piece| seen.insert(piece.clone())).take(N_PIECES);
    let extra = (0..N_EXTRA).rev().map(|i| format!("<extra_id_{i}>"));
    pieces.chain(extra).collect()
}

/// `tokenizer.json`.
fn tokenizer(pieces: &[String]) -> Value {
    let is_special = |id: usize| id < SPECIALS.len() || id >= N_PIECES;
    let special = |(id, content): (usize, &String)| {
        json!({
            "id": id,
            "content": content,
            "single_word": false,
            "lstrip": false,
            "rstrip": false,
            "normalized": false,
            "special": true,
        })
    };
    let added: Vec<Value> = pieces.iter().enumerate().filter(|(id, _)| is_special(*id)).map(special).collect();
    // As Zipf has it, the probability of a piece falls as its rank grows.
    let log_probability = |id: usize| if is_special(id) { 0.0 } else { -((id as f64).ln() + 1.0) };
    let vocab: Vec<Value> = pieces.iter().enumerate().map(|(id, piece)| json!([piece, log_probability(id)])).collect();
    let spaces = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true});
    let (end, text) = (
        json!({"SpecialToken": {"id": SPECIALS[1], "type_id": 0}}),
        |id: &str| json!({"Sequence": {"id": id, "type_id": 0}}),
    );
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text("A"), end],
            "pair": [text("A"), end, text("B"), end],
            "special_tokens": {(SPECIALS[1]): {"id": SPECIALS[1], "ids": [1], "tokens": [SPECIALS[1]]}},
        },
        "decoder": spaces,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sd_spec::clip_tokenizer::tokens;

    #[test]
    fn the_pieces_are_as_many_as_t5s_and_distinct() {
        let pieces = pieces(&tokens());
        assert_eq!(pieces.len(), 32_100);
        assert_eq!(pieces.iter().collect::<HashSet<_>>().len(), pieces.len());
        // T5's tokenizer has its special tokens at these ids.
        for (id, piece) in
            [(0, "<pad>"), (1, "</s>"), (2, "<unk>"), (32_000, "<extra_id_99>"), (32_099, "<extra_id_0>")]
        {
            assert_eq!(pieces[id], piece);
        }
        for piece in ["\u{2581}photo", "\u{2581}cat", "a", "\u{2581}"] {
            assert!(pieces.iter().any(|found| found == piece), "{piece}");
        }
    }
}
