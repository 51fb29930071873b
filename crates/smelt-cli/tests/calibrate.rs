//! `smelt calibrate` as a user runs it: prompts from everywhere, packages and a checkpoint, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Ran, command, fail, json, names, run, succeed, text};
use serde_json::Value;

/// The prompts that a file says it was made with.
fn prompts(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let about: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["smelt.calibration"]).unwrap();
    serde_json::from_value(about["prompts"].clone()).unwrap()
}

#[test]
fn prompts_are_of_a_file_of_standard_input_or_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| text(dir.path().join(name));
    let list = "# two\n\n  red heart\nrocket\n";
    fs::write(place("list.txt"), list).unwrap();
    let short = ["--steps", "2", "--seed", "3"];
    let file = json(["calibrate", "-o", &place("file"), "--prompts", &place("list.txt")].iter().chain(&short));
    assert_eq!((&file["samples"], &file["pictures"], &file["evaluations"]), (&12.into(), &2.into(), &3.into()));
    let mut child = command(["calibrate", "-o", &place("stdin"), "--prompts", "-"].iter().chain(&short))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read(place("file")).unwrap(), fs::read(place("stdin")).unwrap());
    assert_eq!(prompts(Path::new(&place("file"))), ["red heart", "rocket"]);

    let few = ["--steps", "1", "--scheduler", "ddim", "--samples", "2", "--force"];
    for (more, first, n) in [
        (&[][..], "smiling face with sunglasses", 17),
        (&["--held-out"], "red heart", 8),
        (&["-m", &text(testkit::demo())], "a fishing boat tied to a wooden jetty at dawn, mist over the water", 17),
    ] {
        succeed(["calibrate", "-o", &place("there")].iter().chain(&few).chain(more));
        let there = prompts(Path::new(&place("there")));
        assert_eq!((there[0].as_str(), there.len()), (first, n));
    }
}

#[test]
fn packages_record_what_their_checkpoint_does() {
    let dir = tempfile::tempdir().unwrap();
    let [packages, of_packages, of_checkpoint] = ["packages", "a", "b"].map(|name| text(dir.path().join(name)));
    let list = text(dir.path().join("list.txt"));
    fs::write(&list, "rocket\n").unwrap();
    succeed(["convert", &text(testkit::demo()), "-o", &packages]);
    let record = |model: &str, to: &str| {
        let fixed = ["calibrate", "-m", model, "-o", to, "--prompts", &list, "--steps", "1", "--scheduler", "ddim"];
        json(fixed)["inputs"].clone()
    };
    assert_eq!(record(&packages, &of_packages), record(&text(testkit::demo()), &of_checkpoint));
    let [a, b] = [&of_packages, &of_checkpoint].map(|path| smelt::tensor_file::read(Path::new(path)).unwrap());
    // The first step's latents are the seed's noise, whatever computes the rest.
    assert_eq!(a["sample"].bytes(), b["sample"].bytes());
    let apart = a["encoder_hidden_states"].to_f32_vec();
    let apart = apart.iter().zip(b["encoder_hidden_states"].to_f32_vec()).map(|(x, y)| (x - y).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-2);
}

#[test]
fn refusals_leave_nothing_and_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let [output, empty] = ["x.safetensors", "empty.txt"].map(|name| text(dir.path().join(name)));
    fs::write(&empty, "# nothing\n").unwrap();
    let error = fail(["calibrate", "-o", &output, "--prompts", &empty]);
    assert!(error.contains("there is no prompt in it"), "{error}");
    let error = fail(["calibrate", "-o", &empty, "--prompts", &empty, "--force"]);
    assert!(error.contains("--prompts"), "{error}");
    let error = fail(["calibrate", "-o", &output, "--steps", "1", "--samples", "1000"]);
    assert!(error.contains("--samples 1000 is more than there are"), "{error}");
    assert_eq!(run(["calibrate", "-o", &output, "--count", "0"]).code, Some(2));
    assert_eq!(run(["calibrate", "-o", &output, "--samples", "0"]).code, Some(2));
    assert_eq!(names(dir.path()), ["empty.txt"]);
    fs::write(&output, "mine").unwrap();
    let error = fail(["calibrate", "-o", &output]);
    assert!(error.contains("is there already; replace it with --force"), "{error}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine");
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let child = command(["calibrate", "-o", &text(dir.path().join("x")), "--steps", "500"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(names(dir.path()).is_empty());
}
