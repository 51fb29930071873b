//! A drawing that is interrupted keeps the pictures that are finished, and leaves nothing else.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{Ran, command, names, read_picture, text};
use testkit::demo;

/// Five pictures that take long, into a folder.
fn draw(dir: &Path, more: &[&str]) -> Child {
    draw_several(dir, &[&["--count", "5"], more].concat())
}

fn draw_several(dir: &Path, more: &[&str]) -> Child {
    let (model, output) = (text(demo()), text(dir.join("x.png")));
    let fixed = ["generate", "a red heart", "-m", &model, "-o", &output, "--steps", "60"];
    command(fixed.iter().chain(more)).spawn().unwrap()
}

fn interrupt(child: Child) -> Ran {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap().into()
}

#[track_caller]
fn assert_two_of_five(dir: &Path, ran: &Ran) {
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(names(dir), ["x-1.png", "x-2.png"]);
    for name in names(dir) {
        assert_eq!(read_picture(dir.join(name)).width(), 128);
    }
    assert!(ran.stderr.contains("interrupted: 2 of 5 pictures written: "), "{}", ran.stderr);
}

#[test]
fn pictures_that_are_finished_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let child = draw(dir.path(), &["--preview", "1"]);
    // The third has begun, and something is shown of it.
    while !["x-2.png", "x-preview.png"].iter().all(|name| names(dir.path()).contains(&(*name).to_owned())) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_two_of_five(dir.path(), &interrupt(child));
}

/// Reads lines of JSON until the second step of the third picture in a pass; returns those before it.
fn until_third(child: &mut Child, pass: u64) -> Vec<serde_json::Value> {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut heard = Vec::new();
    loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if [("pass", pass), ("picture", 3), ("step", 2)].iter().all(|(key, value)| line[key] == *value) {
            return heard;
        }
        heard.push(line);
    }
}

#[test]
fn a_series_of_requests_is_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = draw_several(dir.path(), &["--seed", "1..5", "--json"]);
    let heard = until_third(&mut child, 1);
    let eta = |line: &serde_json::Value| line["eta_s"].as_f64().unwrap() * line["it_per_s"].as_f64().unwrap();
    // All five, not the first alone.
    assert!(eta(&heard[0]) > 4.0 * 60.0, "{}", heard[0]);
    assert_two_of_five(dir.path(), &interrupt(child));
}

#[test]
fn pictures_that_wait_for_their_decoder_are_finished_first() {
    for (options, pass) in [(&["--low-memory"][..], 1), (&["--size=64", "--hires=2", "--hires-strength=0.1"], 2)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = draw(dir.path(), &[options, &["--json"]].concat());
        until_third(&mut child, pass);
        assert_two_of_five(dir.path(), &interrupt(child));
    }
}

#[test]
fn what_happens_is_told_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = draw(dir.path(), &["--json"]);
    let heard = until_third(&mut child, 1);
    let events: Vec<&str> = heard.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events[..2], ["progress", "progress"]);
    let pictures: Vec<usize> = (0..events.len()).filter(|i| events[*i] == "picture").collect();
    let n_steps = usize::try_from(heard[0]["of"].as_u64().unwrap()).unwrap();
    assert_eq!(pictures, [n_steps, 2 * n_steps + 1]);
    assert!(heard[0]["it_per_s"].as_f64() > Some(0.0) && heard[0]["eta_s"].as_f64() > Some(0.0), "{}", heard[0]);
    let second = &heard[pictures[1]];
    assert_eq!((&second["picture"], &second["pictures"], &second["width"]), (&2.into(), &5.into(), &128.into()));
    let ran = interrupt(child);
    let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], last["pictures"].as_array().map(Vec::len)), (&"interrupted".into(), Some(2)));
    assert_two_of_five(dir.path(), &ran);
}
