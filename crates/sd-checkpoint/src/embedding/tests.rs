//! Facts about files of new words, and about checkpoints with them.

use std::path::PathBuf;

use host_tensor::DType;
use safe_files::NamedFiles;

use super::*;
use crate::Checkpoint;

fn golden() -> Option<PathBuf> {
    Some(testkit::golden()?.join("textual-inversion"))
}

/// A checkpoint of one text encoder, with so many tokens of this width.
fn checkpoint(n_tokens: usize, width: usize, files: &[(&str, &str)]) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let config = format!(r#"{{"vocab_size": {n_tokens}, "hidden_size": {width}, "eos_token_id": 2}}"#);
    put("text_encoder/config.json", &config);
    put("tokenizer/vocab.json", r#"{"a": 0, "cat</w>": 1, "<|endoftext|>": 2}"#);
    files.iter().for_each(|(name, text)| put(name, text));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    (dir, checkpoint)
}

/// A word with vectors that count upwards.
fn embedding(token: &str, n_vectors: usize, width: usize) -> Embedding {
    let values = (0..n_vectors * width).map(|i| i as f32).collect();
    let vectors = vec![LearnedVectors { encoder: None, tensor: HostTensor::from_f32([n_vectors, width], values) }];
    let tokens = vec![LearnedToken { token: token.to_owned(), vectors }];
    Embedding { path: format!("{token}.pt").into(), tokens, left_aside: Vec::new() }
}

fn json(checkpoint: &Checkpoint, name: &str) -> serde_json::Value {
    serde_json::from_slice(&checkpoint.read(name, 1 << 20).unwrap().unwrap_or_else(|| panic!("{name}"))).unwrap()
}

#[test]
fn every_golden_form_gives_its_word_and_vectors() {
    let Some(golden) = golden() else { return };
    for (name, token, shapes, family) in [
        ("diffusers_one.safetensors", "<cat-toy>", &[(None, 1, 64)][..], None),
        ("diffusers_multi_f16.safetensors", "<cat-toy>", &[(None, 4, 64)], None),
        ("learned_embeds.bin", "<cat-toy>", &[(None, 3, 64)], None),
        ("a1111.pt", "charturner", &[(None, 6, 64)], None),
        ("a1111_parameter_legacy.pt", "charturner", &[(None, 2, 64)], None),
        ("ti_parameterdict.pt", "charturner", &[(None, 2, 64)], None),
        ("emb_params.safetensors", "emb_params", &[(None, 3, 64)], None),
        ("sdxl.safetensors", "sdxl", &[(Some(Role::TextEncoder2), 4, 24), (Some(Role::TextEncoder), 4, 16)], None),
    ] {
        let found = Embedding::recognise(&golden.join(name)).unwrap().unwrap_or_else(|| panic!("{name}"));
        let [word] = found.tokens() else { panic!("{name}: {found:?}") };
        let own: Vec<_> = word.vectors.iter().map(|v| (v.encoder, v.n_vectors(), v.width())).collect();
        assert_eq!((&*word.token, &own[..], found.family()), (token, shapes, family), "{name}");
    }
}

#[test]
fn vectors_for_t5_are_said_to_be_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("toy.safetensors");
    let bytes = [0u8; 64];
    let view = |width: usize| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, width], &bytes[..4 * width])
    };
    let tensors = [("clip_l", view(4).unwrap()), ("t5xxl", view(16).unwrap())];
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let embedding = Embedding::read(&path, None).unwrap();
    assert_eq!(embedding.tokens()[0].vectors.len(), 1);
    let (_dir, plain) = checkpoint(3, 4, &[]);
    let warnings = Embeddings::add_to(plain, &[embedding]).unwrap().warnings();
    assert!(warnings[0].contains("toy.safetensors: its vectors for T5 (t5xxl) are left aside"), "{warnings:?}");
}

#[test]
fn other_files_are_no_embeddings() {
    let Some(golden) = golden() else { return };
    let golden = golden.parent().unwrap();
    for name in ["loras/sd15_kohya.safetensors", "single-file/vae_only.ckpt", "single-file/sd15.safetensors"] {
        assert!(Embedding::recognise(&golden.join(name)).unwrap().is_none(), "{name}");
        let error = Embedding::read(&golden.join(name), None).unwrap_err().to_string();
        assert!(error.contains("it holds no vectors of a new word, but "), "{error}");
    }
}

#[test]
fn vectors_follow_the_rows_and_tokens_the_vocabulary() {
    let (_dir, plain) = checkpoint(3, 4, &[]);
    let words = [embedding("<x>", 2, 4), embedding("y", 1, 4)];
    let with = Embeddings::add_to(plain, &words).unwrap();
    let config = json(&with, "text_encoder/config.json");
    // The token that ends a text has no longer the largest id.
    assert_eq!((&config["vocab_size"], &config["eos_token_id"]), (&6.into(), &2.into()));
    assert_eq!(json(&with, "tokenizer/added_tokens.json"), serde_json::json!({"<x>": 3, "<x>_1": 4, "y": 5}));
    let mut weights = crate::Weights::default();
    let own = HostTensor::from_f32([3, 4], vec![9.0; 12]).cast(DType::F16);
    weights.insert("text_model.embeddings.token_embedding.weight", own);
    let words = words.iter().flat_map(|word| word.tokens.clone()).collect();
    crate::Adapter::adapt(&adapt::Embeddings::of(words), Role::TextEncoder, &mut weights).unwrap();
    let rows = weights.get("text_model.embeddings.token_embedding.weight").unwrap();
    assert_eq!(rows.shape(), [6, 4]);
    let values = rows.constant().read().to_f32_vec();
    assert_eq!(values[12..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_list_of_all_added_tokens_takes_new_ones() {
    let config = r#"{"added_tokens_decoder": {"2": {"content": "<|endoftext|>", "special": true}}, "x": 1}"#;
    let (_dir, plain) = checkpoint(3, 4, &[("tokenizer/tokenizer_config.json", config)]);
    let with = Embeddings::add_to(plain, &[embedding("<x>", 1, 4)]).unwrap();
    let config = json(&with, "tokenizer/tokenizer_config.json");
    assert_eq!(config["added_tokens_decoder"]["3"]["content"], "<x>");
    assert_eq!((&config["added_tokens_decoder"]["2"]["special"], &config["x"]), (&true.into(), &1.into()));
    assert!(with.read("tokenizer/added_tokens.json", 1 << 20).unwrap().is_none());
}

#[test]
fn what_does_not_fit_is_named() {
    let refuses = |files: &[(&str, &str)], words: &[Embedding], expected: &str| {
        let (_dir, plain) = checkpoint(3, 4, files);
        let error = Embeddings::add_to(plain, words).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuses(&[], &[embedding("<x>", 1, 5)], "<x>.pt: <x> has vectors of width 5, and the text-encoder takes 4");
    refuses(&[], &[embedding("A", 1, 4)], "A.pt: \"A\" is a token already");
    refuses(&[], &[embedding("<x>", 2, 4), embedding("<x>_1", 1, 4)], "\"<x>_1\" is a token already");
    let beyond = [("tokenizer/added_tokens.json", r#"{"<y>": 3}"#)];
    refuses(&beyond, &[embedding("<x>", 1, 4)], "the tokenizer has \"<y>\" with the id 3 there");
}

#[test]
fn a_word_may_be_given_another_name_and_one_that_is_none_is_refused() {
    let Some(golden) = golden() else { return };
    let path = golden.join("emb_params.safetensors");
    assert_eq!(Embedding::read(&path, Some("charturner")).unwrap().tokens()[0].token, "charturner");
    assert!(Embedding::read(&path, Some(" ")).unwrap_err().to_string().contains("FILE=WORD"));
}

#[test]
fn vectors_that_are_none_are_refused() {
    let of = |shape: &[usize], values: Vec<f32>| {
        LearnedVectors::new("x", &HostTensor::from_f32(shape.to_vec(), values).into(), None)
    };
    assert_eq!(of(&[2], vec![1.0, 2.0]).unwrap().tensor().shape(), [1, 2]);
    assert!(of(&[1, 1, 1], vec![1.0]).unwrap_err().contains("[1, 1, 1]"));
    assert!(of(&[0, 4], vec![]).unwrap_err().contains("no vectors"));
    assert!(of(&[1], vec![f32::NAN]).unwrap_err().contains("no number"));
}
