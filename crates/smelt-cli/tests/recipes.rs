//! Goals of `compress`, and `recipe`, on packages of the demo.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{fail, json, names, run, succeed, text};
use serde_json::{Value, json as value};
use testkit::demo;

/// The demo, converted once for all tests of this file, for systems that have every scheme.
static CONVERTED: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages-for-recipes");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    succeed(["convert", &text(demo()), "-o", &text(&dir), "--target", "macOS15"]);
    dir
});

fn unet() -> String {
    text(CONVERTED.join("Stable_Diffusion_version_sd-emoji_unet.mlpackage"))
}

/// Bytes of all files below a path.
fn bytes_of(path: &Path) -> u64 {
    if path.is_file() {
        return std::fs::metadata(path).unwrap().len();
    }
    names(path).iter().map(|name| bytes_of(&path.join(name))).sum()
}

/// An analysis of the UNet with made-up losses: weights differ by four decades in how much they matter.
fn analysis(dir: &Path) -> (PathBuf, Value) {
    let facts = json(["inspect", "--weights", &unet()]);
    let large = |w: &&Value| w["shape"].as_array().unwrap().len() >= 2 && elements(w) > 2048;
    let one = |(i, w): (usize, &Value)| {
        let (n, matters) = (elements(w), 10f64.powf(-4.0 * ((i * 37 % 101) as f64) / 101.0));
        let choices: Vec<Value> = [1u32, 2, 4, 6, 8]
            .iter()
            .map(|&bits| {
                let bytes = n * u64::from(bits) / 8 + (2 << bits);
                let loss = matters * 4f64.powi(-(bits as i32)) * 1e-3;
                value!({"scheme": bits.to_string(), "bytes": bytes, "loss": loss, "measured": true})
            })
            .collect();
        value!({"name": w["name"], "readers": w["readers"], "shape": w["shape"], "bytes": n * 2, "choices": choices})
    };
    let all = facts["weights"].as_array().unwrap();
    let weights: Vec<Value> = all.iter().filter(large).enumerate().map(one).collect();
    let analysis = value!({
        "version": 1, "software": "a test", "model": "sd-emoji",
        "inputs": {"source": "random", "samples": 1, "digest": "00"},
        "schemes": ["1", "2", "4", "6", "8"], "measured": ["1", "2", "4", "6", "8"], "signal": 1.0, "peak": 4.0, "weights": weights,
    });
    let path = dir.join("analysis.json");
    std::fs::write(&path, analysis.to_string()).unwrap();
    (path, analysis)
}

fn elements(weight: &Value) -> u64 {
    weight["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product()
}

#[test]
fn a_mean_of_bits_is_kept_and_loses_less_than_one_width_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let output = |name: &str| text(dir.path().join(name));
    let noise = |summary: &Value| -> f64 {
        let weights = summary["packages"][0]["weights"].as_array().unwrap().clone();
        weights.iter().filter_map(|w| w["snr_db"].as_f64()).map(|db| 10f64.powf(-db / 10.0)).sum()
    };
    let uniform = json(["compress", &unet(), "-o", &output("4.mlpackage"), "--bits", "4"]);
    let bits = |summary: &Value| summary["packages"][0]["average_bits"].as_f64().unwrap();
    let mean = format!("{:.4}", bits(&uniform) + 0.0001);
    let mixed = json(["compress", &unet(), "-o", &output("m.mlpackage"), "--mean-bits", &mean]);
    assert!(bits(&mixed) <= mean.parse().unwrap() && bits(&mixed) > bits(&uniform) - 0.02, "{mixed}");
    assert!(noise(&mixed) < noise(&uniform), "{} and {}", noise(&mixed), noise(&uniform));
    assert_eq!((&mixed["choice"]["gap"], &mixed["choice"]["estimated"]), (&value!(0.0), &value!(true)));
    // What was estimated is what was lost.
    let estimated = mixed["choice"]["loss"].as_f64().unwrap();
    assert!((noise(&mixed) - estimated).abs() < 1e-9 * estimated, "{estimated} and {}", noise(&mixed));
}

#[test]
fn a_size_holds_for_all_files_and_is_used_up() {
    let dir = tempfile::tempdir().unwrap();
    let all = bytes_of(&CONVERTED);
    let uncompressed = bytes_of(Path::new(&unet()));
    for (i, (input, limit)) in
        [(unet(), uncompressed * 4 / 10), (unet(), uncompressed / 5), (text(&*CONVERTED), all * 6 / 10)]
            .into_iter()
            .enumerate()
    {
        let output = dir.path().join(if input == unet() { format!("{i}.mlpackage") } else { i.to_string() });
        let summary = json(["compress", &input, "-o", &text(&output), "--fit", &limit.to_string()]);
        let written = bytes_of(&output);
        assert!(written <= limit && written as f64 > 0.99 * limit as f64, "{written} of {limit}: {summary}");
        let planned = summary["choice"]["planned_bytes"].as_u64().unwrap();
        assert!(planned >= written && planned - written < 4096, "{planned} and {written}");
    }
    // There is room for everything.
    let whole = dir.path().join("whole.mlpackage");
    let summary = json(["compress", &unet(), "-o", &text(&whole), "--fit", "10GB"]);
    assert_eq!(summary["choice"]["loss"], value!(0.0), "{summary}");
    let message = fail(["compress", &unet(), "-o", &text(dir.path().join("x.mlpackage")), "--fit", "100kB"]);
    assert!(message.contains("--fit 100 kB is not possible: with the smallest schemes it is"), "{message}");
    let message =
        fail(["compress", &unet(), "-o", &text(dir.path().join("x.mlpackage")), "--fit", "1MB", "--schemes", "4g11"]);
    assert!(message.contains("no weight can have the scheme 4g11"), "{message}");
    assert!(!dir.path().join("x.mlpackage").exists());
}

#[test]
fn an_analysis_decides_and_must_fit() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut analysis) = analysis(dir.path());
    let output = |name: &str| text(dir.path().join(name));
    let args = ["--psnr", "60", "--analysis", &text(&path)];
    let summary = json(["compress", &unet(), "-o", &output("p.mlpackage")].iter().copied().chain(args));
    let (db, loss) = (summary["choice"]["psnr_db"].as_f64().unwrap(), summary["choice"]["loss"].as_f64().unwrap());
    assert!((60.0..60.2).contains(&db) && (db - 10.0 * (16.0 / loss).log10()).abs() < 1e-9, "{summary}");
    assert_eq!(summary["choice"]["estimated"], value!(false));

    let refuse = |analysis: &Value, args: &[&str], facts: &[&str]| {
        std::fs::write(&path, analysis.to_string()).unwrap();
        let (package, output, path) = (unet(), output("x.mlpackage"), text(&path));
        let fixed = ["compress", &package, "-o", &output, "--analysis", &path];
        let message = fail(fixed.iter().chain(args));
        facts.iter().for_each(|fact| assert!(message.contains(fact), "{fact} is not in: {message}"));
        assert!(!Path::new(&output).exists());
    };
    let whole = analysis.clone();
    let bits = &["--mean-bits", "4"];
    refuse(&whole, &["--mean-bits", "4", "--schemes", "3"], &["nothing of the scheme 3", "1, 2, 4, 6, 8"]);
    refuse(&whole, &["--mean-bits", "0.5"], &["--mean-bits 0.5 is not possible", "smallest schemes come to 1."]);
    refuse(&whole, &[], &["--analysis is for a goal"]);
    let name = analysis["weights"][3]["name"].as_str().unwrap().to_owned();
    analysis["weights"][3]["shape"] = value!([1, 2, 3]);
    refuse(&analysis, bits, &[&name, "[1, 2, 3] in the analysis"]);
    analysis["weights"][3]["name"] = value!("nobody_weight");
    refuse(&analysis, bits, &["nobody_weight", "_unet has not"]);
    analysis["weights"].as_array_mut().unwrap().remove(3);
    refuse(&analysis, bits, &["nothing of", &name]);
    let mut shard = whole.clone();
    shard["shard"] = value!({"index": 1, "of": 2});
    refuse(&shard, bits, &["shard 1 of 2"]);
    let ran = run(["compress", &unet(), "-o", &output("x.mlpackage"), "--psnr", "30"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--analysis"), "{}", ran.stderr);
    // What is skipped need not be known, and what is known may be skipped.
    std::fs::write(&path, whole.to_string()).unwrap();
    succeed([
        "compress",
        &unet(),
        "-o",
        &output("s.mlpackage"),
        "--skip",
        &name,
        "--mean-bits",
        "5",
        "--analysis",
        &text(&path),
    ]);
}

#[test]
fn a_recipe_is_what_compress_would_choose() {
    let dir = tempfile::tempdir().unwrap();
    let (path, analysis) = analysis(dir.path());
    let file = |name: &str| text(dir.path().join(name));
    let recipes = json(["recipe", &text(&path), "--mean-bits", "4.04", "-o", &file("r.json")]);
    assert_eq!(recipes.as_array().unwrap().len(), 1);
    let mean = recipes[0]["mean_bits"].as_f64().unwrap();
    assert!(mean <= 4.04 && mean > 4.02, "{recipes}");
    succeed(["compress", &unet(), "-o", &file("a.mlpackage"), "--config", &file("r.json")]);
    let direct = ["compress", &unet(), "-o", &file("b.mlpackage"), "--analysis", &text(&path), "--mean-bits", "4.04"];
    let chosen = json(direct)["choice"]["schemes"].clone();
    assert_eq!(chosen, recipes[0]["counts"]);
    let weights =
        |name: &str| std::fs::read(dir.path().join(name).join("Data/com.apple.CoreML/weights/weight.bin")).unwrap();
    assert!(weights("a.mlpackage") == weights("b.mlpackage"));

    let front = json(["recipe", &text(&path), "-o", &file("f.json"), "--plot", &file("f.svg")]);
    let front = front.as_array().unwrap();
    assert_eq!(front.len(), 7);
    assert!(
        front
            .windows(2)
            .all(|p| p[0]["bytes"].as_u64() < p[1]["bytes"].as_u64() && p[0]["loss"].as_f64() > p[1]["loss"].as_f64())
    );
    let svg = std::fs::read_to_string(file("f.svg")).unwrap();
    assert!(
        svg.starts_with("<svg") && !svg.contains("NaN") && svg.matches("<circle class=\"recipe\"").count() == 8,
        "{svg}"
    );
    let name = front[3]["name"].as_str().unwrap();
    succeed(["compress", &unet(), "-o", &file("c.mlpackage"), "--config", &file("f.json"), "--recipe", name]);

    // By layers, as Apple's tools have them.
    let made = json(["recipe", &text(&path), "-o", &file("apple.json"), "--form", "apple", "--count", "3"]);
    let apple: Value = serde_json::from_str(&std::fs::read_to_string(file("apple.json")).unwrap()).unwrap();
    let key = format!("recipe_{}_bit_mixedpalette", made[1]["name"].as_str().unwrap());
    let layers = apple["recipes"][&key].as_object().unwrap();
    assert_eq!(layers.len(), analysis["weights"].as_array().unwrap().len());
    assert!(layers.contains_key("mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"), "{layers:?}");
    assert_eq!(
        apple["single_layer"]["4"]["conv_out"].as_array().map(Vec::len),
        apple["baselines"]["original"].as_f64().map(|_| 8)
    );
    let summary =
        json(["compress", &unet(), "-o", &file("d.mlpackage"), "--config", &file("apple.json"), "--recipe", &key]);
    let bits = summary["packages"][0]["average_bits"].as_f64().unwrap();
    assert!((bits - made[1]["mean_bits"].as_f64().unwrap()).abs() < 0.01, "{bits}: {made}");
}

#[test]
fn what_no_recipe_can_be_made_of_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut analysis) = analysis(dir.path());
    let path = text(&path);
    let refuse = |args: &[&str], fact: &str| {
        let message = fail(["recipe", &path].iter().chain(args));
        assert!(message.contains(fact), "{fact} is not in: {message}");
    };
    refuse(&["--mean-bits", "0.2"], "--mean-bits 0.2 is not possible: the smallest schemes come to 1.");
    refuse(&["--schemes", "4g16"], "nothing of the scheme 4g16; it has 1, 2, 4, 6, 8");
    let ran = run(["recipe", &path, "--schemes", "5"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("\"5\" is no scheme"), "{}", ran.stderr);
    refuse(&["--plot", "x.png"], "--plot draws SVG");
    analysis["weights"][0]["name"] = value!("op_7_weight");
    std::fs::write(&path, analysis.to_string()).unwrap();
    refuse(&["--form", "apple", "-o", &text(dir.path().join("x.json"))], "the layer of op_7_weight cannot be told");
    assert!(!dir.path().join("x.json").exists());
}
