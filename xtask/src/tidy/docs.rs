//! Paths that the README and `docs/` name exist.
//!
//! Looked at: link targets, and the words of code spans and code blocks that begin with a folder of the repository.
//! A placeholder (`<family>`, `*`) ends the path: what stands before it must exist.

use std::path::{Component, Path, PathBuf};

use super::{SourceFile, numbered};

const FOLDERS: [&str; 6] = ["crates/", "docs/", "xtask/", "proto/", "benches/", ".ci/"];

/// The paths that do not exist, with where they are named.
pub(super) fn check(files: &[SourceFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let is_doc =
        |file: &&SourceFile| file.path == "README.md" || (file.path.starts_with("docs/") && file.path.ends_with(".md"));
    let mut faults = Vec::new();
    for file in files.iter().filter(is_doc) {
        for (number, path) in paths(file) {
            if !exists(&path) {
                faults.push(format!("{}:{number}: names {path}, which does not exist", file.path));
            }
        }
    }
    faults
}

/// Every path that the file names, relative to the root, with its line.
fn paths(file: &SourceFile) -> Vec<(usize, String)> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    let mut is_block = false;
    for (number, line) in numbered(&file.text) {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
            continue;
        }
        let code: Vec<&str> = if is_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        let words = code.iter().flat_map(|code| code.split([' ', '"', '\'', '(', ')', ',', ';']));
        found.extend(words.filter_map(repository_path).map(|path| (number, path)));
        if !is_block {
            found.extend(links(line).filter_map(|target| link_path(folder, target)).map(|path| (number, path)));
        }
    }
    found
}

/// The targets of inline links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next())
}

/// A word that begins with a folder of the repository, without line number and placeholder.
fn repository_path(word: &str) -> Option<String> {
    let word = word.trim_start_matches("./").trim_end_matches(['.', ':']);
    if !FOLDERS.iter().any(|folder| word.starts_with(folder)) {
        return None;
    }
    let word = word.split_once(':').map_or(word, |(path, _)| path);
    let is_literal = |part: &&str| !part.contains(['<', '*', '{', '[', '…', '$']) && *part != "...";
    let parts: Vec<&str> = word.split('/').take_while(is_literal).collect();
    Some(parts.join("/"))
}

/// A relative link's target from the root; `None` for addresses and for what lies outside the repository.
fn link_path(folder: &Path, target: &str) -> Option<String> {
    if target.is_empty() || target.contains(':') {
        return None;
    }
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::ParentDir => return None,
            _ => {}
        }
    }
    Some(path.to_string_lossy().replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_paths(path: &str, text: &str, wanted: &[&str]) {
        let file = SourceFile { path: path.into(), text: text.into() };
        let found: Vec<String> = paths(&file).into_iter().map(|(_, path)| path).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn code_spans_blocks_and_links_are_read() {
        check_paths("README.md", "See `crates/mil/src/ir.rs:12` and `docs/`.", &["crates/mil/src/ir.rs", "docs/"]);
        check_paths("README.md", "```sh\nsmelt convert crates/sd-demo -o out\n```\n", &["crates/sd-demo"]);
        check_paths("docs/a.md", "[b](b.md#part) [c](../README.md \"title\")", &["docs/b.md", "README.md"]);
        check_paths("docs/a.md", "`crates/mil/src/ops/<family>.rs`, `docs/*.md`", &["crates/mil/src/ops", "docs"]);
    }

    #[test]
    fn other_words_are_left_alone() {
        check_paths("README.md", "crates/none in prose, `a/b`, `../shared/x`, `cargo xtask ci`", &[]);
        check_paths("README.md", "[home](https://example.org/docs/x) [top](#top) [out](../../x)", &[]);
    }

    #[test]
    fn a_missing_path_is_reported_with_its_line() {
        let doc = |path: &str| SourceFile { path: path.into(), text: "ok\n`docs/gone.md`\n".into() };
        let exists = |path: &str| path != "docs/gone.md";
        let faults = check(&[doc("README.md"), doc("crates/x/notes.md")], exists);
        assert_eq!(faults, ["README.md:2: names docs/gone.md, which does not exist"]);
        assert!(check(&[doc("README.md")], |_| true).is_empty());
    }
}
