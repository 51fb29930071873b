//! Recorded parses and windows of AUTOMATIC1111's rules.

use serde_json::Value;

use super::*;
use crate::tokenizer::ClipTokenizer;

fn cases() -> Option<(std::path::PathBuf, Value)> {
    let golden = testkit::golden()?;
    let cases = std::fs::read(golden.join("vectors/prompt_weighting.json")).unwrap();
    Some((golden, serde_json::from_slice(&cases).unwrap()))
}

fn text(case: &Value) -> Vec<Section> {
    parse(case["prompt"].as_str().unwrap(), Emphasis::Original).unwrap().swap_remove(0).texts.swap_remove(0).0
}

#[test]
fn parses_are_those_that_are_recorded() {
    let Some((_, cases)) = cases() else { return };
    let kinds = ["parse_cases", "embedding_cases", "sdxl_cases"];
    let all: Vec<&Value> = kinds.iter().flat_map(|kind| cases[kind].as_array().unwrap()).collect();
    assert_eq!(all.len(), 67 + 17 + 2);
    for case in all {
        let expected: Vec<(&str, f64)> = case["parse"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| (p[0].as_str().unwrap(), p[1].as_f64().unwrap()))
            .collect();
        let text = text(case);
        let mut found: Vec<(&str, f64)> = Vec::new();
        for (idx, section) in text.iter().enumerate() {
            found.extend((idx > 0).then_some(("BREAK", -1.0)));
            found.extend(section.iter().map(|piece| (piece.text.as_str(), piece.weight)));
        }
        let same = |(a, b): (&(&str, f64), &(&str, f64))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9;
        assert!(
            found.len() == expected.len() && found.iter().zip(&expected).all(same),
            "{}: {found:?}, expected {expected:?}",
            case["prompt"]
        );
    }
}

#[test]
fn windows_are_those_that_are_recorded() {
    let Some((golden, cases)) = cases() else { return };
    let tokenizer = |dir: &str| ClipTokenizer::from_dir(&golden.join("checkpoints").join(dir)).unwrap();
    let (sd, first, second) =
        (tokenizer("tiny-sd15/tokenizer"), tokenizer("tiny-sdxl/tokenizer"), tokenizer("tiny-sdxl/tokenizer_2"));
    let check = |case: &Value, key: &str, tokenizer: &ClipTokenizer, at_commas: bool| -> usize {
        let Some(expected) = case[key].as_array() else { return 0 };
        let layout = Layout::new(tokenizer, 77).unwrap();
        let layout = if at_commas { layout.at_commas().unwrap() } else { layout };
        let chunks = layout.chunks(&text(case)).unwrap();
        let ids: Vec<Vec<u32>> = expected.iter().map(|ids| serde_json::from_value(ids.clone()).unwrap()).collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.ids.clone()).collect::<Vec<_>>(), ids, "{} {key}", case["prompt"]);
        if at_commas {
            let weights: Vec<Vec<f64>> = serde_json::from_value(case["weights"].clone()).unwrap();
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(chunks.iter().zip(&weights).all(|(chunk, weights)| chunk.weights.iter().zip(weights).all(near)));
        }
        chunks.len()
    };
    let mut count = 0;
    for case in cases["embedding_cases"].as_array().unwrap() {
        count += check(case, "chunks", &sd, true) + check(case, "chunks_without_comma_rule", &sd, false);
    }
    for case in cases["sdxl_cases"].as_array().unwrap() {
        count += check(case, "chunks", &first, true) + check(case, "chunks_2", &second, true);
    }
    assert_eq!(count, 22 + 4 + 6);
}

#[test]
fn comfyuis_words_stay_in_one_window() {
    let tokenizer = ClipTokenizer::from_dir(&testkit::demo().join("tokenizer")).unwrap();
    let word = "kwyjibos";
    let n_tokens = tokenizer.ids(word).unwrap().len();
    assert!((2..8).contains(&n_tokens), "{n_tokens}");
    let in_windows = |emphasis: Emphasis| -> Vec<usize> {
        let prompt = format!("{}{word}", "a ".repeat(74));
        count(&tokenizer, &prompt, emphasis).unwrap().windows.iter().map(|window| window.n_tokens).collect()
    };
    assert_eq!(in_windows(Emphasis::Comfy), [74, n_tokens]);
    assert_eq!(in_windows(Emphasis::Original), [75, n_tokens - 1]);
}
