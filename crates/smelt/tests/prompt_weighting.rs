//! Prompts with weights and of several windows, against recorded results of AUTOMATIC1111's rules and of compel.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its figures")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use smelt::{Emphasis, HostTensor, Pipeline, PipelineOptions, Precision, Request};

/// Largest distance, as a share of the largest value.
const TOLERANCE: f32 = 2e-5;

struct Recorded {
    cases: Value,
    tensors: HashMap<String, HostTensor>,
}

impl Recorded {
    fn read(golden: &Path) -> Self {
        let vectors = golden.join("vectors");
        let cases = fs::read(vectors.join("prompt_weighting.json")).unwrap();
        let tensors = smelt::tensor_file::read(&vectors.join("prompt_weighting.safetensors")).unwrap();
        Self { cases: serde_json::from_slice(&cases).unwrap(), tensors: tensors.into_iter().collect() }
    }

    fn cases(&self, kind: &str) -> &[Value] {
        self.cases[kind].as_array().unwrap()
    }

    /// States [tokens, D] as the denoiser takes them: [D, tokens].
    fn states(&self, key: &str) -> Vec<f32> {
        let tensor = &self.tensors[key];
        let (&[n_tokens, width] | &[1, n_tokens, width]) = tensor.shape() else { panic!("{key} {:?}", tensor.shape()) };
        let values = tensor.to_f32_vec();
        (0..width).flat_map(|d| (0..n_tokens).map(move |s| s * width + d)).map(|i| values[i]).collect()
    }
}

#[track_caller]
fn check(what: &str, found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let off = found.iter().zip(expected).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs())) / largest;
    assert!(off <= TOLERANCE, "{what}: {off:e} of the largest value");
    off
}

fn pipeline(golden: &Path, name: &str) -> Pipeline {
    let options = PipelineOptions {
        precision: Some(Precision::Float32),
        safety_check: false,
        clip_skips: vec![0, 1],
        ..PipelineOptions::default()
    };
    smelt::open(golden.join("checkpoints").join(name)).unwrap().pipeline(&options).unwrap()
}

fn request(case: &Value, emphasis: Emphasis) -> Request {
    let clip_skip = case["clip_skip"].as_u64().unwrap_or(0) as usize;
    Request { emphasis, clip_skip, guidance: 1.0, ..Request::new(case["prompt"].as_str().unwrap()) }
}

/// A prompt of AUTOMATIC1111's with the same pieces and weights in compel's syntax.
fn in_compels_syntax(case: &Value) -> String {
    let piece = |piece: &Value| {
        let text = piece[0].as_str().unwrap().replace('(', "\\(").replace(')', "\\)");
        let weight = piece[1].as_f64().unwrap();
        if text.trim().is_empty() || weight == 1.0 { text } else { format!(" ({text}){weight} ") }
    };
    case["parse"].as_array().unwrap().iter().map(piece).collect()
}

#[test]
fn states_are_those_of_the_web_ui_and_of_compel() {
    let Some(golden) = testkit::golden() else { return };
    let recorded = Recorded::read(&golden);
    let mut pipeline = pipeline(&golden, "tiny-sd15");
    let (mut count, mut worst) = (0, 0.0_f32);
    let mut run = |request: &Request, key: &str| {
        let embedded = pipeline.embed(request).unwrap();
        assert!(embedded.warnings.is_empty(), "{key}: {:?}", embedded.warnings);
        worst = worst.max(check(key, &embedded.prompt["encoder_hidden_states"], &recorded.states(key)));
        count += 1;
    };
    for case in recorded.cases("embedding_cases") {
        let key = case["key"].as_str().unwrap();
        run(&request(case, Emphasis::Original), &format!("{key}.a1111"));
        if case["compel"] == true {
            let prompt = in_compels_syntax(case);
            run(&Request { prompt, ..request(case, Emphasis::Compel) }, &format!("{key}.compel"));
        }
    }
    for case in recorded.cases("compel_cases") {
        let key = case["key"].as_str().unwrap();
        run(&request(case, Emphasis::Compel), &format!("{key}.embeds"));
    }
    println!("{count} prompts, at most {worst:e} of the largest value apart");
    assert_eq!(count, 17 + 9 + 7);
}

#[test]
fn states_of_two_encoders_are_those_of_the_web_ui() {
    let Some(golden) = testkit::golden() else { return };
    let recorded = Recorded::read(&golden);
    let mut pipeline = pipeline(&golden, "tiny-sdxl");
    for case in recorded.cases("sdxl_cases") {
        let key = case["key"].as_str().unwrap();
        let embedded = pipeline.embed(&request(case, Emphasis::Original)).unwrap();
        let states = check(key, &embedded.prompt["encoder_hidden_states"], &recorded.states(&format!("{key}.embeds")));
        let pooled = &recorded.tensors[&format!("{key}.pooled")];
        let pooled = check(key, &embedded.prompt["text_embeds"], &pooled.to_f32_vec());
        println!("{key}: states {states:e}, pooled {pooled:e}");
    }
}
