//! `bench --table`: what can be shared of a machine's speed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{fail, json, run, succeed, text};

#[test]
fn a_row_says_machine_engine_attention_and_two_figures() {
    let model = text(testkit::demo());
    let call = ["bench", "--table", &model, "--runs", "1"];
    let plain = succeed(call);
    let lines: Vec<&str> = plain.lines().collect();
    assert!(
        lines[0].starts_with("| Device | `--compute-unit` | `--attention-implementation` | End-to-End Latency (s)")
    );
    assert!(lines[2].contains(" threads | `CPU_ONLY` | `SPLIT_EINSUM` | "), "{plain}");
    assert!(lines[4].contains("20 steps of"), "{plain}");
    let facts = json(call.iter().chain(&["--attention", "original"]));
    let row = &facts["rows"][0];
    assert_eq!(row["attention_implementation"], "ORIGINAL");
    assert_eq!((&row["steps"], row["latencies_s"].as_array().unwrap().len()), (&20.into(), 1));
    let (latency, speed) = (row["latency_s"].as_f64().unwrap(), row["iterations_per_s"].as_f64().unwrap());
    // Text and decoding are part of the one, and not of the other.
    let evaluations = row["evaluations"].as_f64().unwrap();
    assert!(latency > 0.5 * evaluations / speed, "{row}");
}

#[test]
fn packages_tell_their_attention_and_take_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path().join("out"));
    succeed(["convert", &text(testkit::demo()), "-o", &out, "--bundle", "--attention", "original"]);
    let call = ["bench", "--table", &out, "--runs", "1"];
    assert_eq!(json(call)["rows"][0]["attention_implementation"], "ORIGINAL");
    let refused = fail(call.iter().chain(&["--attention", "split-einsum"]));
    assert!(refused.contains("--attention is for a checkpoint"), "{refused}");
    assert_eq!(run(["bench"]).code, Some(2));
    assert_eq!(run(["bench", "x", "--attention", "original"]).code, Some(2));
}
