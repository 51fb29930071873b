//! Words that must not stand in a file, and the one line that must.

use super::{SourceFile, numbered};

/// A word that is forbidden in some files.
struct Rule {
    word: &'static str,
    is_in_scope: fn(&str) -> bool,
    why: &'static str,
}

// Words are split so that this file does not contain them.
const RULES: &[Rule] = &[
    Rule { word: "unet", is_in_scope: is_in_mil, why: "the mil crates know nothing of diffusion" },
    Rule { word: "protobuf", is_in_scope: is_in_sd, why: "the sd crates know nothing of the file format" },
    Rule { word: concat!("#[", "ignore"), is_in_scope: is_rust, why: "tests run or do not exist" },
    Rule { word: concat!("TO", "DO"), is_in_scope: is_any, why: "do it, or open an issue" },
    Rule { word: concat!("FIX", "ME"), is_in_scope: is_any, why: "fix it, or open an issue" },
    Rule { word: concat!("/wo", "rk/"), is_in_scope: is_any, why: "a path of somebody's machine" },
    Rule { word: concat!("/ro", "ot/"), is_in_scope: is_any, why: "a path of somebody's machine" },
    Rule { word: concat!("/ho", "me/"), is_in_scope: is_any, why: "a path of somebody's machine" },
];

/// `crates/mil` and `crates/mil-*`. Integration tests may name the golden program that they read.
fn is_in_mil(path: &str) -> bool {
    (path.starts_with("crates/mil/") || path.starts_with("crates/mil-")) && !path.contains("/tests/")
}

/// `crates/sd-*`, likewise.
fn is_in_sd(path: &str) -> bool {
    path.starts_with("crates/sd-") && !path.contains("/tests/")
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_any(_: &str) -> bool {
    true
}

/// The forbidden words of a file, with their lines.
pub(super) fn check(file: &SourceFile) -> Vec<String> {
    let rules: Vec<&Rule> = RULES.iter().filter(|rule| (rule.is_in_scope)(&file.path)).collect();
    numbered(&file.text)
        .flat_map(|(number, line)| {
            let hits = rules.iter().filter(move |rule| contains(line, rule.word));
            hits.map(move |rule| format!("{}:{number}: says {:?}: {}", file.path, rule.word, rule.why))
        })
        .collect()
}

/// Whether `line` holds `word` and not as the tail of a longer word or path.
/// A word in lower case is found in any case.
fn contains(line: &str, word: &str) -> bool {
    let is_lower = word.chars().all(|c| c.is_ascii_lowercase());
    let line = if is_lower { line.to_ascii_lowercase() } else { line.to_owned() };
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || (word.starts_with('/') && "._-}*".contains(c)))
    })
}

/// Every module begins by saying what it is; generated files begin by saying that.
pub(super) fn opening(file: &SourceFile) -> Option<String> {
    let is_generated = file.text.starts_with("// @generated");
    let is_opened = file.text.starts_with("//! ");
    (!is_generated && !is_opened).then(|| format!("{}:1: does not begin with `//! ` and what it is", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[track_caller]
    fn finds(path: &str, text: &str) {
        assert_eq!(check(&file(path, text)).len(), 1, "{path}: {text}");
    }

    #[track_caller]
    fn passes(path: &str, text: &str) {
        assert_eq!(check(&file(path, text)), Vec::<String>::new());
    }

    #[test]
    fn mil_never_says_unet() {
        finds("crates/mil/src/ir.rs", "// as in a UNet");
        finds("crates/mil-engine/Cargo.toml", "# runs unet.mlpackage");
        passes("crates/sd-models/src/lib.rs", "//! The UNet.");
        passes("crates/milling/src/lib.rs", "//! The UNet.");
        passes("crates/mil/src/ir.rs", "// a magunet");
        passes("crates/mil/tests/golden.rs", "read(\"tiny.unet\")");
    }

    #[test]
    fn sd_never_says_protobuf() {
        finds("crates/sd-convert/src/lib.rs", "//! Writes Protobuf.");
        passes("crates/mlpackage/src/lib.rs", "//! Writes protobuf.");
    }

    #[test]
    fn no_test_is_ignored() {
        finds("crates/mil/src/ir.rs", concat!("    #[", "ignore]"));
        finds("crates/mil/src/ir.rs", concat!("#[", "ignore = \"slow\"]"));
        passes("docs/style.md", concat!("There is no `#[", "ignore]`."));
    }

    #[test]
    fn nothing_is_left_to_do() {
        finds("xtask/src/main.rs", concat!("// TO", "DO: more"));
        finds("README.md", concat!("(FIX", "ME)"));
        passes("xtask/src/main.rs", "// todo lists are for issues");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        finds("xtask/src/main.rs", concat!("\"/wo", "rk/x\""));
        finds(".ci/run", concat!("cd /ro", "ot/x"));
        passes("docs/style.md", concat!("the folder `net/wo", "rk/x` and $HOME/ro", "ot/x"));
    }

    #[test]
    fn modules_begin_with_what_they_are() {
        assert_eq!(opening(&file("a.rs", "//! A thing.\n")), None);
        assert_eq!(opening(&file("a.rs", "// @generated by x\n")), None);
        for text in ["use std::fs;\n//! late", "", "//!\n//! blank first"] {
            assert!(opening(&file("a.rs", text)).is_some(), "{text}");
        }
    }
}
