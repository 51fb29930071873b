//! Passes as text to text: what each one rewrites, and a near miss that it must leave alone.
//!
//! Texts are one function, `(inputs) { statements } -> (outputs)`; names that say nothing are left out of
//! what is printed. Every program must be valid before and after.

mod cleanup;
mod failure;
mod fuse;
mod layout;
mod one_sample;
mod open_mask;
mod precision;
mod resize_axis;

use super::*;
use crate::{
    ir::Program,
    opset::Opset,
    text::{BlobTable, NoBlobs, PrintOptions, parse, print},
    validate,
};
use expect_test::{Expect, expect};

/// The function `text` of this opset, alone in its program.
#[track_caller]
fn program(opset: Opset, text: &str) -> Program {
    let text = format!("program(1) {{ func main<{}>{text}; }}", opset.ios_tag());
    match parse(&text, &NoBlobs) {
        Ok(program) => program,
        Err(e) => panic!("{e} in\n{text}"),
    }
}

/// Runs `pass` on the function `text`; returns the number of rewrites and the function.
#[track_caller]
fn apply(opset: Opset, text: &str, pass: impl Fn(&mut Function) -> Result<usize, PassError>) -> (usize, Program) {
    let mut program = program(opset, text);
    let n = match pass(program.functions.get_mut("main").unwrap()) {
        Ok(n) => n,
        Err(e) => panic!("{e}"),
    };
    if let Err(faults) = validate(&program) {
        panic!("not valid after the pass:\n{faults}\n{}", print(&program, &PrintOptions::default()).text);
    }
    (n, program)
}

/// `text` becomes `expected` in at least one rewrite, and is valid before.
#[track_caller]
fn check(pass: Pass, text: &str, expected: Expect) {
    check_in(Opset::CoreML6, pass, text, expected);
}

#[track_caller]
fn check_in(opset: Opset, pass: impl Fn(&mut Function) -> Result<usize, PassError>, text: &str, expected: Expect) {
    let before = program(opset, text);
    if let Err(faults) = validate(&before) {
        panic!("not valid before the pass:\n{faults}");
    }
    let (n, after) = apply(opset, text, pass);
    expected.assert_eq(&statements(&after));
    assert!(n > 0, "the pass says that it did nothing");
}

/// `text` is valid and stays as it is.
#[track_caller]
fn check_kept(pass: Pass, text: &str) {
    let before = program(Opset::CoreML6, text);
    if let Err(faults) = validate(&before) {
        panic!("not valid before the pass:\n{faults}");
    }
    let (n, after) = apply(Opset::CoreML6, text, pass);
    assert_eq!(statements(&after), statements(&before));
    assert_eq!(n, 0, "the pass says that it did something");
}

/// The function as short text: no header, no indentation, no names that repeat the result's.
fn statements(program: &Program) -> String {
    let options = PrintOptions { dialect: Some(crate::text::Dialect::Short), blob_threshold: usize::MAX };
    let printed = print(program, &options);
    assert_eq!(printed.blobs.len(), BlobTable::default().len());
    let mut out = String::new();
    for line in printed.text.lines().skip(3).filter(|l| *l != "}") {
        let line = line.trim();
        let line = line.strip_prefix("func main<").and_then(|l| l.split_once('>')).map_or(line, |(_, rest)| rest);
        let line = match line.rfind("[name = string(\"") {
            Some(at) if line.contains("const()[") => line[..at].replace("const()", after_name(&line[at..])) + ";",
            Some(at) => line[..at].to_owned() + ";",
            None => line.to_owned(),
        };
        let is_border = line.starts_with('(') || line.starts_with('}');
        out.push_str(if is_border { "" } else { "    " });
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// `int32(1)` of `[name = string("…"), val = int32(1)];`.
fn after_name(attributes: &str) -> &str {
    attributes.split_once("val = ").map_or("", |(_, value)| value.trim_end_matches("];"))
}
