//! `docs/mil.md` says what the crate does: its programs are programs, its table of operations is the crate's.

use expect_test::expect_file;
use mil::{
    Opset, ops, pass,
    text::{NoBlobs, PrintOptions, parse, print},
    validate,
};
use std::fmt::Write;

const BEGIN: &str = "<!-- operations: written by `UPDATE_EXPECT=1 cargo test -p coreml-mil --test docs` -->\n";
const END: &str = "<!-- end of operations -->\n";

#[test]
fn the_table_of_operations_is_the_one_in_the_code() {
    let page = expect_file!["../../../docs/mil.md"];
    let text = page.data();
    let (before, rest) = text.split_once(BEGIN).expect("the page has a table of operations");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    page.assert_eq(&format!("{before}{BEGIN}{}{END}{after}", table()));
}

/// One row for each family.
fn table() -> String {
    let mut out = String::from("\n| family | operations |\n|---|---|\n");
    for (family, specs) in ops::families() {
        let mut kinds: Vec<&str> = specs.iter().map(|s| s.kind).collect();
        kinds.dedup();
        let cells: Vec<String> = kinds
            .iter()
            .map(|kind| {
                let since: Vec<Opset> = specs.iter().filter(|s| s.kind == *kind).map(|s| s.since).collect();
                let systems: Vec<String> = since.iter().map(|o| o.ios_tag().replace("ios", "")).collect();
                match since[..] {
                    [Opset::CoreML5] => format!("`{kind}`"),
                    _ => format!("`{kind}` ({})", systems.join(", ")),
                }
            })
            .collect();
        writeln!(out, "| `{family}` | {} |", cells.join(", ")).expect("a String takes everything");
    }
    out.push('\n');
    out
}

#[test]
fn the_programs_on_the_page_are_valid_and_print_as_they_stand() {
    let page = expect_file!["../../../docs/mil.md"].data();
    let programs: Vec<&str> = page.split("```mil\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(programs.len() >= 2);
    for text in programs {
        let program = match parse(text, &NoBlobs) {
            Ok(program) => program,
            Err(e) => panic!("{e} in\n{text}"),
        };
        if let Err(faults) = validate(&program) {
            panic!("{faults} in\n{text}");
        }
        assert_eq!(print(&program, &PrintOptions::default()).text, text);
    }
}

#[test]
fn the_page_names_every_pass() {
    let page = expect_file!["../../../docs/mil.md"].data();
    for (name, _) in pass::TIDY {
        assert!(page.contains(&format!("`{name}`")), "the page does not name the pass {name}");
    }
}
