//! A conversion that ends at any point leaves whole packages or none.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{command, names, succeed, text};
use mlpackage::Package;
use smelt::{BundleForm, Conversion, Event, Existing};
use testkit::{Rng, demo};

fn start(output: &Path, more: &[&str]) -> Child {
    command(["convert", &text(demo()), "-o", &text(output), "--force"].iter().chain(more)).spawn().unwrap()
}

/// How long a conversion takes when nobody disturbs it.
fn whole_run(more: &[&str]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    assert!(start(dir.path(), more).wait().unwrap().success());
    begin.elapsed()
}

/// Opens and validates every package; returns how many there are.
#[track_caller]
fn assert_whole(dir: &Path) -> usize {
    let packages: Vec<String> =
        names(dir).into_iter().filter(|n| !n.starts_with('.') && n.ends_with(".mlpackage")).collect();
    for name in &packages {
        let package = Package::open(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        for program in package.model().programs() {
            mil::validate(program).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    packages.len()
}

/// Half-written packages.
fn leftovers(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|n| n.starts_with('.') && n.contains(".mlpackage.")).collect()
}

#[test]
fn a_killed_conversion_leaves_whole_packages_and_the_next_one_cleans() {
    let whole = whole_run(&[]);
    let mut rng = Rng::new(whole.subsec_nanos().into());
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..6 {
        let mut child = start(dir.path(), &[]);
        let after = whole.mul_f32(rng.unit());
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
        let n = assert_whole(dir.path());
        assert!(n <= 4, "killed after {after:?}");
    }
    succeed(["convert", &text(demo()), "-o", &text(dir.path()), "--force"]);
    assert_eq!(assert_whole(dir.path()), 4);
    // Killed between making its directory and locking it, a run leaves an empty one, which may still be somebody's:
    // the next run leaves it alone for a while.
    let is_full = |name: &String| std::fs::read_dir(dir.path().join(name)).unwrap().next().is_some();
    let full: Vec<String> = leftovers(dir.path()).into_iter().filter(is_full).collect();
    assert!(full.is_empty(), "{full:?}");
}

/// Interrupts a conversion at some point; returns how it ended.
fn interrupt(output: &Path, more: &[&str], after: Duration, signal: &str) -> std::process::ExitStatus {
    let mut child = start(output, more);
    std::thread::sleep(after);
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    // It may have ended before, or not have begun.
    assert!(matches!(status.code(), Some(130 | 0) | None), "{status}");
    status
}

#[test]
fn an_interrupted_conversion_cleans_up_by_itself() {
    let whole = whole_run(&[]);
    let mut rng = Rng::new(whole.subsec_nanos().into());
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        interrupt(dir.path(), &[], whole.mul_f32(0.1 + 0.9 * rng.unit()), "-INT");
        assert_whole(dir.path());
        assert!(leftovers(dir.path()).is_empty(), "{:?}", leftovers(dir.path()));
    }
}

#[test]
fn an_interrupted_bundle_leaves_nothing_hidden() {
    let more = ["--bundle", "--chunk-unet"];
    let whole = whole_run(&more);
    let mut rng = Rng::new(whole.subsec_nanos().into());
    for signal in ["-INT", "-TERM", "-INT", "-TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let status = interrupt(dir.path(), &more, whole.mul_f32(0.1 + 0.9 * rng.unit()), signal);
        let resources = dir.path().join("Resources");
        let there = if resources.is_dir() { names(&resources) } else { Vec::new() };
        // What a signal ends before it is handled is no work of ours.
        let is_hidden = there.iter().any(|name| name.starts_with('.'));
        assert!(status.code().is_none() || !is_hidden, "{signal}: {there:?}");
    }
}

#[test]
fn whenever_a_bundle_says_that_nothing_is_half_written_nothing_hidden_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let resources = dir.path().join("Resources");
    let (mut depth, mut n_looks) = (0, 0);
    let mut watch = |event: Event<'_>| {
        depth += match event {
            Event::WriteBegins => 1,
            Event::WriteEnds => -1,
            _ => 0,
        };
        if depth == 0 && resources.is_dir() {
            let there = names(&resources);
            assert!(there.iter().all(|name| !name.starts_with('.')), "{event:?}: {there:?}");
            n_looks += 1;
        }
        ControlFlow::Continue(())
    };
    for chunk_unet in [None, Some(2)] {
        let conversion = Conversion {
            bundle: Some(BundleForm::Compiled),
            chunk_unet,
            existing: Existing::Replace,
            ..Conversion::default()
        };
        smelt::open(demo()).unwrap().convert(dir.path(), &conversion, &mut watch).unwrap();
    }
    assert!(n_looks > 8, "{n_looks}");
    assert!(names(&resources).iter().all(|name| name != "Unet.mlmodelc"), "parts have taken the place of the whole");
}
