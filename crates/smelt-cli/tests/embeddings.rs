//! Textual inversion, by the command: convert, generate, verify and inspect.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{fail, json, made, read_picture, succeed, text};
use safetensors::Dtype;
use testkit::{Rng, demo};

/// Numbers of a token of the demo model.
fn width() -> usize {
    let config = std::fs::read(demo().join("text_encoder/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["hidden_size"].as_u64().unwrap() as usize
}

/// A file of vectors for one word, as diffusers writes it.
fn embedding(dir: &Path, name: &str, word: &str, n_vectors: usize, width: usize) -> PathBuf {
    let path = dir.join(name);
    let values = Rng::new(7).normals(n_vectors * width);
    let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    let tensors = BTreeMap::from([(word.to_owned(), (Dtype::F32, vec![n_vectors, width], bytes))]);
    made::write(&path, &tensors);
    path
}

fn draw(model: &str, prompt: &str, dir: &Path, more: &[&str]) -> sd_runtime::image::RgbImage {
    let output = text(dir.join("drawn.png"));
    let args = ["generate", prompt, "-m", model, "-o", &output, "--steps", "2", "--seed", "3"];
    succeed(args.iter().chain(more));
    read_picture(Path::new(&output))
}

#[test]
fn a_word_is_part_of_what_is_converted_and_of_what_is_drawn_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = text(embedding(dir.path(), "learned.safetensors", "<Toy>", 2, width()));
    let (model, output) = (text(demo()), text(dir.path().join("out")));
    let summary = json(["convert", &model, "-o", &output, "--embedding", &file]);
    assert_eq!((&summary["words"][0]["word"], &summary["words"][0]["vectors"]), (&"<Toy>".into(), &2.into()));
    let converted = draw(&output, "a red <toy>", dir.path(), &[]);
    let at_once = draw(&model, "a red <toy>", dir.path(), &["--embedding", &file]);
    assert!(converted == at_once, "packages and the checkpoint draw the same");
    assert!(converted != draw(&output, "a red", dir.path(), &[]), "the word is seen");
    let plain = draw(&output, "a red heart", dir.path(), &[]);
    assert!(plain == draw(&model, "a red heart", dir.path(), &[]), "other words stay what they are");
    let package = text(dir.path().join("out").join(summary["packages"][0]["path"].as_str().unwrap_or_default()));
    assert!(Path::new(&package).exists(), "{summary}");
}

#[test]
fn words_are_named_and_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let width = width();
    embedding(dir.path(), "learned.safetensors", "<Toy>", 1, width);
    let folder = text(dir.path());
    let (model, output) = (text(demo()), text(dir.path().join("out")));
    let convert = ["convert", &model, "-o", &output, "--component", "text-encoder", "--embedding-dir", &folder];
    let said = succeed(convert.iter().copied().chain(["--embedding", "learned=<kiln>"]));
    assert!(said.contains("prompts may say <kiln> (1 vector of "), "{said}");
    let message = fail(convert.iter().copied().chain(["--embedding", "learnt", "--force"]));
    assert!(
        message.contains("--embedding: learnt is neither a file nor in ") && message.contains("learned"),
        "{message}"
    );
    let wide = text(embedding(dir.path(), "wide.safetensors", "<x>", 1, width + 8));
    let message = fail(convert.iter().copied().chain(["--embedding", &wide, "--force"]));
    let expected = format!("<x> has vectors of width {}, and the text-encoder takes {width}", width + 8);
    assert!(message.contains(&expected), "{message}");
    let twice = ["--embedding", "learned", "--embedding", "learned", "--force"];
    let message = fail(convert.iter().copied().chain(twice));
    assert!(message.contains("\"<Toy>\" is a token already"), "{message}");
    // Packages have their words behind them, and so has a tokenizer of its own.
    let message = fail(["generate", "x", "-m", &output, "--embedding", &wide]);
    assert!(message.contains("--embedding is for a checkpoint"), "{message}");
    let tokenizer = text(demo().join("tokenizer"));
    let file = text(dir.path().join("learned.safetensors"));
    let message = fail(["generate", "x", "-m", &model, "--embedding", &file, "--tokenizer", &tokenizer]);
    assert!(message.contains("adds words to the checkpoint's own tokenizer"), "{message}");
}

#[test]
fn a_package_with_words_is_verified_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = text(embedding(dir.path(), "learned.safetensors", "<Toy>", 2, width()));
    let (model, output) = (text(demo()), dir.path().join("out"));
    let component = ["--component", "text-encoder", "--model-version", "m"];
    succeed(["convert", &model, "-o", &text(&output), "--embedding", &file].iter().chain(&component));
    let package = text(output.join("Stable_Diffusion_version_m_text_encoder.mlpackage"));
    let against = ["verify", &package, "--against", &model, "--rounding", "f32"];
    let said = succeed(against.iter().copied().chain(["--embedding", &file]));
    assert!(said.contains("agrees with"), "{said}");
    let wide = text(embedding(dir.path(), "wide.safetensors", "<Wide>", 1, width() + 8));
    let message = fail(against.iter().copied().chain(["--embedding", &wide]));
    assert!(message.contains("<Wide> has vectors of width"), "{message}");
}

#[test]
fn a_file_is_described() {
    let dir = tempfile::tempdir().unwrap();
    let file = text(embedding(dir.path(), "learned.safetensors", "<Toy>", 3, 768));
    let said = succeed(["inspect", &file]);
    for words in ["a textual inversion for  Stable Diffusion 1.x", "<Toy>", "3 vectors of width 768, fp32"] {
        assert!(said.contains(words), "{said}");
    }
    let facts = json(["inspect", &file]);
    assert_eq!(facts["words"][0]["encoders"][0]["width"], 768);
    assert!(fail(["inspect", &file, "--mil"]).contains("holds no program"));
}
