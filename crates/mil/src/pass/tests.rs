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

/// The same, which must be valid.
#[track_caller]
fn valid(opset: Opset, text: &str) -> Program {
    let program = program(opset, text);
    if let Err(faults) = validate(&program) {
        panic!("not valid before the pass:\n{faults}");
    }
    program
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
    valid(opset, text);
    let (n, after) = apply(opset, text, pass);
    expected.assert_eq(&statements(&after));
    assert!(n > 0, "the pass says that it did nothing");
}

/// `text` is valid and stays as it is.
#[track_caller]
fn check_kept(pass: Pass, text: &str) {
    let before = valid(Opset::CoreML6, text);
    let (n, after) = apply(Opset::CoreML6, text, pass);
    assert_eq!(statements(&after), statements(&before));
    assert_eq!(n, 0, "the pass says that it did something");
}

/// `text` is valid, refused with that fact, and stays as it is.
#[track_caller]
fn check_refused(opset: Opset, pass: impl Fn(&mut Function) -> Result<usize, PassError>, text: &str, fact: &str) {
    let mut program = valid(opset, text);
    let before = program.clone();
    let error = pass(program.functions.get_mut("main").unwrap()).unwrap_err().to_string();
    assert!(error.contains(fact), "{error}");
    assert_eq!(program, before);
}

/// The printed shapes that values of `text` have after the pass, by name.
#[track_caller]
fn check_shapes(
    opset: Opset,
    pass: impl Fn(&mut Function) -> Result<usize, PassError>,
    text: &str,
    shapes: &[(&str, &str)],
) {
    valid(opset, text);
    let (_, after) = apply(opset, text, pass);
    let function = after.main().unwrap();
    for (name, shape) in shapes {
        let ty = function.ty(function.by_name(name).unwrap()).to_string();
        assert_eq!(ty, format!("tensor<fp32, {shape}>"), "{name}");
    }
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
