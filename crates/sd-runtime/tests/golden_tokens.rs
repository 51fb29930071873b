//! Token ids against Hugging Face's, over the strings of golden `vectors/clip_tokens.json`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use sd_runtime::prompt::Window;
use sd_runtime::tokenizer::{ClipTokenizer, T5Tokenizer};

fn assert_ids_are_hugging_faces(tokenizer: &ClipTokenizer, golden: &Path) {
    let text = std::fs::read_to_string(golden.join("vectors/clip_tokens.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let text = case[0].as_str().unwrap();
        let want: Vec<u32> = case[1].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let got = Window::of(tokenizer, text, 77).unwrap();
        assert_eq!(got.ids[..got.n_tokens], want, "{text:?}");
        assert!(got.ids[got.n_tokens..].iter().all(|&id| id == tokenizer.pad_id()), "{text:?}");
    }
}

#[test]
fn ids_from_vocabulary_and_merges_are_hugging_faces() {
    let Some(golden) = testkit::golden() else { return };
    let tokenizer = ClipTokenizer::from_dir(&golden.join("checkpoints/tiny-sd15/tokenizer")).unwrap();
    assert_ids_are_hugging_faces(&tokenizer, &golden);
}

#[test]
fn ids_from_tokenizer_json_are_hugging_faces() {
    let Some(golden) = testkit::golden() else { return };
    // The full vocabulary in the new layout, made from the old one.
    let files = golden.join("checkpoints/tiny-sd15/tokenizer");
    let vocab: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(files.join("vocab.json")).unwrap()).unwrap();
    let merges = std::fs::read_to_string(files.join("merges.txt")).unwrap();
    let merges: Vec<&str> = merges.lines().skip(1).filter(|line| !line.is_empty()).collect();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 49406, "content": "<|startoftext|>", "normalized": false, "special": true},
            {"id": 49407, "content": "<|endoftext|>", "normalized": false, "special": true},
        ],
        "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocab, "merges": merges},
    });
    let dir = std::env::temp_dir().join(format!("sd-runtime-tokenizer-json-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("tokenizer.json"), json.to_string()).unwrap();
    let tokenizer = ClipTokenizer::from_dir(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_ids_are_hugging_faces(&tokenizer.unwrap(), &golden);
}

#[test]
fn t5_ids_are_hugging_faces() {
    let Some(golden) = testkit::golden() else { return };
    let tokenizer = T5Tokenizer::from_dir(&golden.join("checkpoints/tiny-sd3/tokenizer_3")).unwrap();
    let text = std::fs::read_to_string(golden.join("vectors/t5_tokens.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 609);
    for case in cases {
        let text = case[0].as_str().unwrap();
        let want: Vec<u32> = case[1].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let got = Window::of(&tokenizer, text, 256).unwrap();
        assert_eq!(got.ids[..got.n_tokens], want, "{text:?}");
        assert!(got.ids[got.n_tokens..].iter().all(|&id| id == 0), "{text:?}");
    }
}

#[test]
fn sd2_pads_with_an_exclamation_mark() {
    let Some(golden) = testkit::golden() else { return };
    let tokenizer = ClipTokenizer::from_dir(&golden.join("checkpoints/tiny-sd21/tokenizer")).unwrap();
    assert_eq!(tokenizer.pad_id(), 0);
    // transformers 5.23 with this checkpoint's files.
    for (text, want) in [
        ("what?! no", &[49406, 768, 286, 0, 871, 49407][..]),
        ("hi!! there", &[49406, 1883, 0, 0, 997, 49407]),
        ("<|STARTOFTEXT|> x", &[49406, 49406, 343, 49407]),
        ("x<|endoftext|>y", &[49406, 343, 49407, 344, 49407]),
    ] {
        let got = Window::of(&tokenizer, text, 77).unwrap();
        assert_eq!(got.ids[..got.n_tokens], *want, "{text}");
    }
}

/// Files as the official repositories of Stable Diffusion 2.x have them, written before transformers 4.34.
fn legacy_files(golden: &Path, checkpoint: &str, pads: [&str; 2]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = golden.join("checkpoints").join(checkpoint).join("tokenizer");
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(source.join(name), dir.path().join(name)).unwrap();
    }
    let token = |content: &str| serde_json::json!({"content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false});
    let typed = |content: &str| {
        let mut token = token(content);
        token["__type"] = "AddedToken".into();
        token
    };
    let (start, end) = ("<|startoftext|>", "<|endoftext|>");
    let config = serde_json::json!({
        "add_prefix_space": false, "bos_token": typed(start), "do_lower_case": true, "eos_token": typed(end),
        "errors": "replace", "model_max_length": 77, "name_or_path": "hf-models/stable-diffusion-v2/tokenizer",
        "pad_token": pads[0], "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer", "unk_token": typed(end),
    });
    let map = serde_json::json!({"bos_token": token(start), "eos_token": token(end), "pad_token": pads[1], "unk_token": token(end)});
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    std::fs::write(dir.path().join("special_tokens_map.json"), map.to_string()).unwrap();
    dir
}

#[test]
fn official_files_of_sd2_pad_as_transformers_does() {
    let Some(golden) = testkit::golden() else { return };
    let dir = legacy_files(&golden, "tiny-sd21", ["<|endoftext|>", "!"]);
    let tokenizer = ClipTokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.warnings(), []);
    // transformers 4.44.2 and 5.24.0 (golden field/01).
    for (text, want) in [
        ("a cat", [49406, 320, 2368, 49407, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a cat!", [49406, 320, 2368, 0, 49407, 0, 0, 0, 0, 0, 0, 0]),
        ("a <cat-toy>", [49406, 320, 283, 2368, 268, 5988, 285, 49407, 0, 0, 0, 0]),
    ] {
        assert_eq!(Window::of(&tokenizer, text, 12).unwrap().ids, want, "{text}");
    }
}

#[test]
fn an_old_textual_inversions_token_is_one_token() {
    let Some(golden) = testkit::golden() else { return };
    let dir = legacy_files(&golden, "tiny-sd15", ["<|endoftext|>"; 2]);
    std::fs::write(dir.path().join("added_tokens.json"), r#"{"<cat-toy>": 49408}"#).unwrap();
    let tokenizer = ClipTokenizer::from_dir(dir.path()).unwrap();
    // transformers 4.44.2 and 5.24.0 (golden field/02).
    assert_eq!(Window::of(&tokenizer, "a <cat-toy>", 6).unwrap().ids, [49406, 320, 49408, 49407, 49407, 49407]);
    assert_eq!(Window::of(&tokenizer, "a cat!", 6).unwrap().ids, [49406, 320, 2368, 256, 49407, 49407]);
}
