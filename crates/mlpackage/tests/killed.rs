//! A writer that ends at any point leaves no package, or a whole one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
};

use mil::{DType, FunctionBuilder, HostTensor, Literal, Opset, Program, Type, validate};
use mlpackage::{Description, Error, Existing, Package, Written, write, write_until};

const TARGET: &str = "MLPACKAGE_TEST_TARGET";
const DIE_AT: &str = "MLPACKAGE_TEST_DIE_AT";
/// Weights of the program below, one progress report each.
const N_WEIGHTS: usize = 4;

/// A sum of the input and some weights.
fn program(value: f32) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[256]));
    let mut e = b.emitter();
    let mut last = x;
    for i in 0..N_WEIGHTS {
        let weight = Literal::from(HostTensor::from_f32([256], vec![value + i as f32; 256]));
        last = e.op("add", &format!("y{i}"), [("x", last.into()), ("y", weight.into())]).unwrap();
    }
    let ops = e.into_ops();
    b.finish_program(ops, &[last])
}

fn write_to(path: &Path, value: f32, existing: Existing, at_report: impl Fn(usize)) -> Result<Written, Error> {
    let program = program(value);
    let mut n_reports = 0;
    write(path, validate(&program).unwrap(), &Description::of(&program), existing, &mut |_| {
        n_reports += 1;
        at_report(n_reports);
    })
}

#[track_caller]
fn assert_holds(path: &Path, value: f32) {
    assert!(*Package::open(path).unwrap().model().program().unwrap() == program(value));
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Not a test of its own: the next test runs it in a process that dies while it writes.
#[test]
fn child_that_dies() {
    let (Some(target), Some(at)) = (env::var_os(TARGET), env::var_os(DIE_AT)) else { return };
    let at: usize = at.to_str().unwrap().parse().unwrap();
    let done = write_to(target.as_ref(), 2.0, Existing::Replace, |n| {
        if n == at {
            // As `kill -9`: no destructor runs.
            std::process::abort();
        }
    });
    done.unwrap();
}

fn die_at(target: &Path, at: usize) {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_that_dies", "--quiet"])
        .env(TARGET, target)
        .env(DIE_AT, at.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.success(), at > N_WEIGHTS, "died at {at}");
}

#[test]
fn a_process_that_is_killed_leaves_no_package_and_the_next_run_cleans() {
    for at in 1..=N_WEIGHTS {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("m.mlpackage");
        die_at(&target, at);
        assert!(!target.exists());
        let [left] = &names(dir.path())[..] else { panic!("{:?}", names(dir.path())) };
        assert!(left.starts_with(".m.mlpackage.smelt-"), "{left}");
        write_to(&target, 1.0, Existing::Refuse, |_| {}).unwrap();
        assert_eq!(names(dir.path()), ["m.mlpackage"]);
        assert_holds(&target, 1.0);
    }
}

#[test]
fn a_process_that_is_killed_leaves_the_package_that_it_was_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m.mlpackage");
    write_to(&target, 1.0, Existing::Refuse, |_| {}).unwrap();
    for at in 1..=N_WEIGHTS {
        die_at(&target, at);
        assert_holds(&target, 1.0);
    }
    die_at(&target, N_WEIGHTS + 1);
    assert_holds(&target, 2.0);
    assert_eq!(names(dir.path()), ["m.mlpackage"]);
}

#[test]
fn a_writer_that_unwinds_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m.mlpackage");
    for at in 1..=N_WEIGHTS {
        let stopped = catch_unwind(AssertUnwindSafe(|| {
            let _ = write_to(&target, 1.0, Existing::Refuse, |n| assert_ne!(n, at, "stop"));
        }));
        assert!(stopped.is_err());
        assert!(names(dir.path()).is_empty());
    }
}

#[test]
fn a_writer_that_is_stopped_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m.mlpackage");
    write_to(&target, 1.0, Existing::Refuse, |_| {}).unwrap();
    let other = program(2.0);
    for at in 1..=N_WEIGHTS {
        let mut n_reports = 0;
        let (valid, description) = (validate(&other).unwrap(), Description::of(&other));
        let stopped = write_until(&target, valid, &description, Existing::Replace, &mut |_| {
            n_reports += 1;
            if n_reports == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert_eq!(n_reports, at);
        assert_holds(&target, 1.0);
        assert_eq!(names(dir.path()), ["m.mlpackage"]);
    }
}

#[test]
fn a_package_is_replaced_only_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m.mlpackage");
    write_to(&target, 1.0, Existing::Refuse, |_| {}).unwrap();
    assert!(matches!(write_to(&target, 2.0, Existing::Refuse, |_| {}), Err(Error::Exists { .. })));
    assert_holds(&target, 1.0);
    write_to(&target, 2.0, Existing::Replace, |_| {}).unwrap();
    assert_holds(&target, 2.0);
    assert!(matches!(
        write_to(&dir.path().join("missing/m.mlpackage"), 1.0, Existing::Refuse, |_| {}),
        Err(Error::Io { .. })
    ));
}
