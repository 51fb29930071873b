//! A drawing that is interrupted keeps the pictures that are finished, and leaves nothing else.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{Ran, command, names, read_picture, text};
use testkit::demo;

/// Five pictures that take long, into a folder.
fn draw(dir: &Path, more: &[&str]) -> Child {
    let (model, output) = (text(demo()), text(dir.join("x.png")));
    let fixed = ["generate", "a red heart", "-m", &model, "-o", &output, "--count", "5", "--steps", "60"];
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
    let child = draw(dir.path(), &[]);
    while !names(dir.path()).contains(&"x-2.png".to_owned()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_two_of_five(dir.path(), &interrupt(child));
}
