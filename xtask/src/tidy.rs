//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy checks.
//!
//! Each rule is a function from text to faults, with a test for what it finds and for what it lets pass.
//! It reads the working tree and `cargo metadata`, changes nothing and needs no network.

mod circles;
mod code;
mod docs;
mod functions;
mod layers;
mod manifests;
mod words;
mod writes;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::workspace_root;

/// A text file of the working tree, its path relative to the root and with forward slashes.
struct SourceFile {
    path: String,
    text: String,
}

/// Fails with every fault found.
#[allow(clippy::print_stderr, reason = "a command reports what it found")]
pub(crate) fn run() -> Result<()> {
    let root = workspace_root();
    let files = read_tree(&root)?;
    let table = files.iter().find(|file| file.path == "docs/architecture.md").context("no docs/architecture.md")?;
    let mut faults = layers::check(&layers::edges(&root)?, &layers::places(&table.text));
    let crates = code::read(&files)?;
    faults.extend(functions::check(&crates));
    faults.extend(circles::check(&crates));
    faults.extend(files.iter().flat_map(check_file));
    faults.extend(docs::check(&files, |path| root.join(path).exists()));
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        n => bail!("{n} faults"),
    }
}

/// The rules that look at one file.
fn check_file(file: &SourceFile) -> Vec<String> {
    let mut faults = words::check(file);
    if file.path.ends_with(".rs") {
        faults.extend(words::opening(file));
        faults.extend(writes::check(file));
    }
    if file.path == "Cargo.toml" {
        faults.extend(manifests::reasons(file));
    } else if file.path.ends_with("/Cargo.toml") {
        faults.extend(manifests::lints(file));
    }
    faults
}

/// Every text file that people write, sorted; hidden and generated folders are not theirs, `.ci` is.
fn read_tree(root: &Path) -> Result<Vec<SourceFile>> {
    const EXTENSIONS: [&str; 5] = ["rs", "toml", "md", "proto", "sh"];
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let absolute = root.join(&folder);
        let entries = fs::read_dir(&absolute).with_context(|| format!("cannot read {}", absolute.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                let is_hidden = name.starts_with('.') && name != ".ci";
                if !is_hidden && !["target", "out"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| EXTENSIONS.iter().any(|wanted| e == *wanted))
                || folder == Path::new(".ci")
            {
                let text =
                    fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {}", path.display()))?;
                files.push(SourceFile { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The lines of a file with their numbers from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_sources_and_no_build_output() {
        let files = read_tree(&workspace_root()).expect("readable");
        let has = |path: &str| files.iter().any(|file| file.path == path);
        assert!(has("xtask/src/tidy.rs") && has("Cargo.toml") && has("docs/style.md"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
