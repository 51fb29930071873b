//! Only `safe-files` changes anything on the disk.
//!
//! It knows what may be renamed over and what is written into, and what else a command reads and writes. The rule looks
//! at the product's code: tests, the test kit and developer tools make files as they like.

use super::SourceFile;

/// What changes the disk, as it is spelt in code, split so that this file does not contain it.
const CALLS: &[&str] = &[
    concat!("fs::", "rename"),
    concat!("fs::", "write"),
    concat!("fs::", "copy"),
    concat!("fs::", "hard_link"),
    concat!("fs::", "create_dir"),
    concat!("fs::", "remove_"),
    concat!("fs::", "set_permissions"),
    concat!("fs::", "symlink"),
    concat!("File::", "create"),
    concat!("File::", "options"),
    concat!("Open", "Options"),
    concat!("Dir", "Builder"),
    concat!("Named", "TempFile"),
    concat!("tempfile", "::"),
    concat!(".persist", "("),
    concat!(".persist_", "noclobber("),
];

/// The functions among them, which an import could shorten.
const FUNCTIONS: &[&str] =
    &["rename", "write", "copy", "hard_link", "create_dir", "create_dir_all", "remove_file", "remove_dir_all"];

const WHY: &str = "only safe-files writes, renames, copies or removes: name the output to safe_files::Outputs";

/// The faults of a file, with their lines.
pub(super) fn check(file: &SourceFile) -> Vec<String> {
    if !is_in_scope(&file.path) {
        return Vec::new();
    }
    let product = file.text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut faults = Vec::new();
    let mut import = String::new();
    for (number, line) in super::numbered(product) {
        let code = line.split("//").next().unwrap_or_default();
        let mut hits: Vec<&str> = CALLS.iter().copied().filter(|call| says(code, call)).collect();
        if !import.is_empty() || code.trim_start().starts_with("use std::") {
            import.push_str(code);
            if code.contains(';') {
                hits.extend(imported(&import));
                import.clear();
            }
        }
        faults.extend(hits.into_iter().map(|call| format!("{}:{number}: says {call:?}: {WHY}", file.path)));
    }
    faults
}

/// The sources of the product's crates; modules of tests have files of their own.
fn is_in_scope(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/fuzz.rs");
    let is_exempt = ["crates/safe-files/", "crates/testkit/"].iter().any(|exempt| path.starts_with(exempt));
    path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs") && !is_test && !is_exempt
}

/// Whether the code has this, and not as the end of a longer name.
fn says(code: &str, call: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(call).any(|(at, _)| call.starts_with('.') || !code[..at].ends_with(is_name))
}

/// A function in a list that an import takes out of `std::fs`; one that stands alone is a call's spelling already.
fn imported(import: &str) -> Option<&'static str> {
    let list = import.split_once("fs::{")?.1.split('}').next()?;
    list.split(',').find_map(|name| FUNCTIONS.iter().copied().find(|function| name.trim() == *function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile { path: path.into(), text: text.into() })
    }

    #[track_caller]
    fn finds(text: &str) {
        let found = faults("crates/smelt-cli/src/command/new.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }

    #[track_caller]
    fn passes(path: &str, text: &str) {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    #[test]
    fn every_way_to_change_the_disk_is_found_in_the_product() {
        for call in CALLS {
            finds(&format!("    let x = std::{call}x(path)?;"));
        }
        finds(concat!("File::", "create_new(path)"));
        finds(concat!("std::", "fs::", "remove_dir_all(path)"));
        finds(concat!("use std::", "fs::{File, rename};"));
        finds(concat!("use std::{\n    ", "fs::{self, copy},\n    io,\n};"));
        finds(concat!("use std::", "fs::", "hard_link;"));
    }

    #[test]
    fn reading_and_tests_and_the_crate_that_may_are_let_pass() {
        let write = concat!("std::fs::", "write(path, text)?;");
        passes(
            "crates/smelt-cli/src/a.rs",
            "use std::{fs::{self, File, read}, io::Write};\nfs::read(path)?; File::open(path)?;",
        );
        passes("crates/smelt-cli/src/a.rs", concat!("my_fs::", "write(path)"));
        passes("crates/smelt-cli/src/a.rs", concat!("// as ", "fs::", "rename does"));
        passes("crates/smelt-cli/src/a.rs", &format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{ {write} }}"));
        for path in [
            "crates/safe-files/src/a.rs",
            "crates/testkit/src/a.rs",
            "crates/smelt-cli/tests/a.rs",
            "xtask/src/a.rs",
            "crates/mlpackage/src/tests/a.rs",
        ] {
            passes(path, write);
        }
    }
}
