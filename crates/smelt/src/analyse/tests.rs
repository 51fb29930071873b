//! Analyses of a few weights of the small model: whole, broken off, and in shards.

use std::ops::ControlFlow;
use std::path::Path;

use safe_files::Outputs;

use super::*;
use crate::watch::Unwatched;

fn output(path: &Path) -> OutputFile {
    Outputs::new().file("-o", path).unwrap()
}

/// The weights of the middle, with two schemes.
fn few() -> Analysing {
    Analysing {
        schemes: vec!["2".parse().unwrap(), "4".parse().unwrap()],
        only: vec!["*mid_block_resnets*".to_owned()],
        samples: Some(2),
        ..Analysing::default()
    }
}

fn analyse(asked: &Analysing, to: &Path, watch: &mut dyn Watch) -> Result<AnalysisReport> {
    asked.run(&testkit::demo().into(), &output(to), &Stop::never(), watch)
}

#[test]
fn every_way_that_fits_has_bytes_and_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("analysis.json");
    let made = analyse(&few(), &path, &mut Unwatched).unwrap();
    let analysis = Analysis::read(&path).unwrap();
    assert_eq!((made.weights, analysis.weights.len(), made.resumed), (6, 6, 0));
    assert!(made.warnings[0].contains("random numbers"), "{:?}", made.warnings);
    assert!(analysis.signal > 0.0 && analysis.peak > analysis.signal.sqrt());
    for weight in &analysis.weights {
        let [two, four] = &weight.choices[..] else { panic!("{weight:?}") };
        assert_eq!((two.scheme.as_str(), two.measured, four.measured), ("2", false, true));
        let n: u64 = weight.shape.iter().product::<usize>() as u64;
        assert_eq!((two.bytes, four.bytes, weight.bytes), (n / 4 + 8, n / 2 + 32, n * 2));
        assert!(two.loss > four.loss && four.loss > 0.0, "{weight:?}");
    }
    assert!(!dir.path().join("analysis.json.incomplete").exists());
    assert!(matches!(analyse(&few(), &path, &mut Unwatched), Err(Error::Exists(_))));
}

/// The places of values when they are sorted.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order.iter().enumerate().for_each(|(rank, &i)| ranks[i] = rank as f64);
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[test]
fn estimates_rank_weights_and_schemes_as_measurements_do() {
    let dir = tempfile::tempdir().unwrap();
    let losses = |name: &str, measured: &[&str]| {
        let schemes = ["2", "4", "8"].map(|s| s.parse().unwrap()).to_vec();
        let measured = measured.iter().map(|s| s.parse().unwrap()).collect();
        let only = vec!["*down_blocks_1*".to_owned()];
        let path = dir.path().join(name);
        analyse(&Analysing { schemes, measured, only, ..few() }, &path, &mut Unwatched).unwrap();
        let weights = Analysis::read(&path).unwrap().weights;
        weights.into_iter().flat_map(|w| w.choices).collect::<Vec<Choice>>()
    };
    let (estimated, truth) = (losses("estimated", &["4"]), losses("truth", &["2", "4", "8"]));
    assert!(truth.len() > 40 && truth.iter().all(|choice| choice.measured));
    let pairs = estimated.iter().zip(&truth).filter(|(choice, _)| !choice.measured);
    let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.map(|(ours, truth)| (ours.loss, truth.loss)).unzip();
    let found = correlation(&ranks(&ours), &ranks(&theirs));
    assert!((0.95..1.0).contains(&found), "{found}");
}

/// Breaks off when so much of the work is done.
fn until(share: f64) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
    move |event: Event<'_>| match event {
        Event::Progress(at) if at.done as f64 > at.total as f64 * share => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

#[test]
fn a_run_that_broke_off_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole.json"), dir.path().join("broken.json"));
    analyse(&few(), &whole, &mut Unwatched).unwrap();
    let journal = dir.path().join("broken.json.incomplete");
    for share in [0.1, 0.6] {
        assert!(matches!(analyse(&few(), &broken, &mut until(share)), Err(Error::Stopped)));
        assert!(!broken.exists());
        // What a kill in the middle of a line leaves.
        let mut text = std::fs::read_to_string(&journal).unwrap();
        text.push_str("{\"weight\":{\"batch\":0,\"wei");
        std::fs::write(&journal, text).unwrap();
    }
    let other = Analysing { schemes: vec!["4".parse().unwrap()], ..few() };
    let error = analyse(&other, &broken, &mut Unwatched).unwrap_err().to_string();
    assert!(error.contains("broken.json.incomplete was begun") && error.contains("--force"), "{error}");
    let made = analyse(&few(), &broken, &mut Unwatched).unwrap();
    assert!((1..6).contains(&made.resumed), "{}", made.resumed);
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&broken).unwrap());
    assert!(!journal.exists());
}

#[test]
fn shards_put_together_are_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    analyse(&few(), &place("whole.json"), &mut Unwatched).unwrap();
    let shards: Vec<PathBuf> = (1..=4)
        .rev()
        .map(|index| {
            let path = place(&format!("{index}.json"));
            let shard = Some(Shard { index, of: 4 });
            analyse(&Analysing { shard, ..few() }, &path, &mut Unwatched).unwrap();
            path
        })
        .collect();
    let put = |paths: &[PathBuf]| merge(paths, &output(&place("merged.json")), Existing::Replace, &mut Unwatched);
    assert_eq!(put(&shards).unwrap().weights, 6);
    assert_eq!(std::fs::read(place("whole.json")).unwrap(), std::fs::read(place("merged.json")).unwrap());
    let check = |paths: &[PathBuf], part: &str| {
        let error = put(paths).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&shards[1..], "of 4 shards these are missing: 4");
    check(&[shards[0].clone(), shards[0].clone()], "shard 4 of 4, which is given twice");
    check(&[place("whole.json")], "is a whole analysis");
    analyse(&Analysing { shard: Some(Shard { index: 1, of: 4 }), seed: 1, ..few() }, &place("x.json"), &mut Unwatched)
        .unwrap();
    check(&[shards[0].clone(), place("x.json")], "model, inputs or options differ");
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let check = |asked: Analysing, part: &str| {
        let error = analyse(&asked, &dir.path().join("x.json"), &mut Unwatched).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(Analysing { samples: Some(0), ..few() }, "no samples");
    check(Analysing { shard: Some(Shard { index: 3, of: 2 }), ..few() }, "counted from 1");
    check(Analysing { shard: Some(Shard { index: 7, of: 7 }), ..few() }, "shard 7 has none of them");
    check(Analysing { only: vec!["nothing".to_owned()], ..few() }, "nothing");
    check(Analysing { calibration: Some("missing.safetensors".into()), ..few() }, "missing.safetensors");
}
