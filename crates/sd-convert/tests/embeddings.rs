//! Text encoders and tokenizers with golden textual inversions, against diffusers and transformers.

#![allow(clippy::print_stdout, reason = "a table of what was measured belongs to the test")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use host_tensor::{HostTensor, Stop};
use mil_engine::reference::{Options as EngineOptions, Reference, Rounding};
use safe_files::Below;
use sd_checkpoint::{Embedding, Embeddings};
use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use sd_runtime::prompt::Window;
use sd_runtime::tokenizer::ClipTokenizer;
use serde_json::Value;
use testkit::{load_safetensors, psnr};

/// Least PSNR against PyTorch of programs in f32, in dB.
const FLOAT32_DB: f64 = 80.0;
/// Tokens of a prompt.
const LENGTH: usize = 77;

/// A text encoder, the folder of its tokenizer, and what its outputs and ids end with in golden files.
const ENCODERS: [(Role, &str, &str); 2] =
    [(Role::TextEncoder, "tokenizer", ""), (Role::TextEncoder2, "tokenizer_2", "_2")];

/// A folder with all of a checkpoint, with what its `assemble.json` takes from others.
fn assembled(golden: &Path, checkpoint: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = golden.join("checkpoints");
    let recipes = std::fs::read(checkpoints.join("assemble.json")).unwrap();
    let recipes: Value = serde_json::from_slice(&recipes).unwrap();
    copy_into(&checkpoints.join(checkpoint), dir.path());
    for (to, from) in recipes[checkpoint].as_object().into_iter().flatten() {
        copy_into(&checkpoints.join(from.as_str().unwrap()), &dir.path().join(to));
    }
    dir
}

fn copy_into(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
        return;
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy_into(&entry.path(), &to.join(entry.file_name()));
    }
}

fn with(golden: &Path, checkpoint: Checkpoint, case: &Value) -> Checkpoint {
    let file = golden.join("textual-inversion").join(case["file"].as_str().unwrap());
    let embedding = Embedding::read(&file, case["token"].as_str()).unwrap();
    assert_eq!(Some(embedding.tokens()[0].n_vectors() as u64), case["vectors"].as_u64());
    Embeddings::add_to(checkpoint, &[embedding]).unwrap()
}

/// Compares the ids of every prompt of a case.
fn check_ids(checkpoint: &Checkpoint, case: &Value) {
    for (role, folder, end) in ENCODERS {
        if !checkpoint.has(role) {
            continue;
        }
        let tokenizer = ClipTokenizer::from_files(&Below { files: checkpoint, folder }).unwrap();
        for row in case["rows"].as_array().unwrap() {
            let want: Vec<u64> = row[format!("ids{end}")].as_array().unwrap().iter().flat_map(Value::as_u64).collect();
            let prompt = row["prompt"].as_str().unwrap();
            let got: Vec<u64> =
                Window::of(&tokenizer, prompt, LENGTH).unwrap().ids.into_iter().map(u64::from).collect();
            assert_eq!(got, want, "{}: {prompt:?}", case["file"]);
        }
    }
}

/// The worst PSNR of the encoders' outputs, and how many were compared.
fn worst_psnr(golden: &Path, checkpoint: &Checkpoint, file: &str) -> (f64, usize) {
    let stem = Path::new(file).with_extension("safetensors");
    let expected = load_safetensors(golden.join("textual-inversion/expected").join(stem));
    let (mut worst, mut n) = (f64::INFINITY, 0);
    for (role, _, end) in ENCODERS {
        if !checkpoint.has(role) {
            continue;
        }
        let options = Options { precision: Some(Precision::Float32), ..Options::default() };
        let program = convert(checkpoint, role, &options).unwrap().program;
        let valid = mil::validate(&program).unwrap();
        let engine = Reference::compile(valid, EngineOptions::default().with_rounding(Rounding::Boundary)).unwrap();
        for number in 0.. {
            let Some(ids) = expected.get(&format!("{number}.input_ids{end}")) else { break };
            let ids = HostTensor::from_f32([1, LENGTH], ids.to_f32_vec());
            let outputs = engine.run(&[("input_ids".to_owned(), ids)].into(), &Stop::never()).unwrap();
            for (output, got) in outputs {
                // What transformers pools is a new vector's; the sound one is at the end of the text.
                let name = if output == "pooled_outputs" { "pooled_at_eos" } else { &*output };
                let Some(want) = expected.get(&format!("{number}.{name}{end}")) else { continue };
                worst = worst.min(psnr(&want.to_f32_vec(), &got.to_f32_vec()));
                n += 1;
            }
        }
    }
    (worst, n)
}

#[test]
fn ids_and_outputs_of_golden_words_are_those_of_diffusers() {
    let Some(golden) = testkit::golden() else { return };
    let cases = std::fs::read(golden.join("textual-inversion/cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let (file, base) = (case["file"].as_str().unwrap(), case["base"].as_str().unwrap());
        let dir = assembled(&golden, base);
        let checkpoint = with(&golden, Checkpoint::open(dir.path()).unwrap(), case);
        check_ids(&checkpoint, case);
        let (worst, n) = worst_psnr(&golden, &checkpoint, file);
        println!("{file:<34} {n:>2} outputs {worst:6.1} dB");
        assert!(n >= 6 && worst >= FLOAT32_DB, "{file}: {worst:.1} dB");
    }
}

#[test]
fn vectors_of_another_width_are_refused() {
    let Some(golden) = testkit::golden() else { return };
    let embedding = Embedding::read(&golden.join("textual-inversion/wrong_width.safetensors"), None).unwrap();
    let checkpoint = Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap();
    let error = Embeddings::add_to(checkpoint, &[embedding]).unwrap_err().to_string();
    assert!(error.contains("wrong_width.safetensors: <cat-toy> has vectors of width 72, and the"), "{error}");
    assert!(error.contains("takes 64"), "{error}");
}
