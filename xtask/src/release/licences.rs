//! The licences of what a binary is made of, with the texts that its crates carry.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

/// How files begin that hold a licence or what must be told with it.
const NAMES: [&str; 6] = ["licen", "copying", "copyright", "notice", "unlicen", "authors"];

/// Every crate that is linked into the binary of `product` with its licence, and each text once.
pub(super) fn collect(metadata: &Metadata, product: &PackageId) -> Result<String> {
    let linked = linked(metadata, product)?;
    let mut crates: Vec<&Package> = metadata.packages.iter().filter(|p| linked.contains(&p.id)).collect();
    // Those of this workspace are under the two licences beside this file.
    crates.retain(|package| package.source.is_some());
    crates.sort_by_key(|package| (package.name.to_string(), package.version.to_string()));
    let mut all =
        String::from("Smelt contains these crates, each under the licence beside its name; texts follow.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in &crates {
        let name = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see its text");
        ensure!(package.license.is_some() || package.license_file.is_some(), "{name} names no licence");
        writeln!(all, "{name}: {licence}")?;
        for path in files(package)? {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").trim().to_owned();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            texts.entry(text).or_default().push(format!("{name} ({file})"));
        }
    }
    let mut sorted: Vec<(&Vec<String>, &String)> = texts.iter().map(|(text, users)| (users, text)).collect();
    sorted.sort();
    for (users, text) in sorted {
        write!(all, "\n{}\n{}\n\n{text}\n", "=".repeat(80), users.join("\n"))?;
    }
    Ok(all)
}

/// Everything that the product needs when it runs, itself included: no tools of builds and tests.
fn linked(metadata: &Metadata, product: &PackageId) -> Result<BTreeSet<PackageId>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut seen, mut open) = (BTreeSet::new(), vec![product]);
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("{id} is not resolved"))?;
        let is_needed = |dep: &&cargo_metadata::NodeDep| dep.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal);
        open.extend(node.deps.iter().filter(is_needed).map(|dep| &dep.pkg));
    }
    Ok(seen)
}

/// The files of a crate that hold licences, sorted.
fn files(package: &Package) -> Result<Vec<PathBuf>> {
    let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
    let mut found: BTreeSet<PathBuf> =
        package.license_file().map(|file| file.into_std_path_buf()).into_iter().collect();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))? {
        let path = entry?.path();
        if path.is_file() && is_licence(&path) {
            found.insert(path);
        }
    }
    Ok(found.into_iter().collect())
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    NAMES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".rs")
}

#[cfg(test)]
mod tests {
    use cargo_metadata::MetadataCommand;

    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        for name in ["LICENSE-MIT", "license.md", "COPYING", "NOTICE", "UNLICENSE", "LICENCE.txt"] {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        for name in ["README.md", "Cargo.toml", "license.rs"] {
            assert!(!is_licence(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn the_crates_of_this_tool_are_told_with_their_texts() {
        let manifest = crate::workspace_root().join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).exec().expect("cargo metadata");
        let own = metadata.packages.iter().find(|p| *p.name == "xtask").expect("this crate");
        let text = collect(&metadata, &own.id).expect("licences");
        assert!(text.contains("\nanyhow 1.") && text.contains("\nclap 4."), "{}", &text[..200]);
        assert!(text.contains("Permission is hereby granted") && text.contains("Apache License"));
        assert!(!text.contains("\nproptest 1."), "a tool of tests is not linked");
    }
}
