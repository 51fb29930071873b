//! `cargo xtask package`: every crate that is published, as the registry would get it.
//!
//! Packs without building and looks at what came of it: what a crate says of itself, and how large it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::{smelt::cargo, workspace_root};

/// What crates.io takes at most.
const MOST_BYTES: u64 = 10_000_000;

/// The file that crates cut from, and the crates: each carries its part as `part.bin`.
const WHOLE: &str = "crates/sd-demo/sd-emoji/unet/diffusion_pytorch_model.safetensors";
const PARTS: [&str; 3] = ["crates/sd-demo-unet-a", "crates/sd-demo-unet-b", "crates/sd-demo-unet-c"];

/// Packs every crate; fails with every fault found.
#[allow(clippy::print_stderr, reason = "a command reports what it found")]
pub(crate) fn run() -> Result<()> {
    let root = workspace_root();
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let (published, own): (Vec<_>, Vec<_>) = metadata.packages.iter().partition(|p| is_published(p));
    let mut faults: Vec<String> = published.iter().flat_map(|p| lacks(p)).collect();
    let parts = Parts::write(&root)?;
    let mut command = cargo();
    command.args(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    for package in &own {
        command.args(["--exclude", &package.name]);
    }
    let status = command.status().context("cannot start cargo")?;
    drop(parts);
    ensure!(status.success(), "cargo package: {status}");
    for package in &published {
        let path = archive(&metadata, package);
        let bytes = fs::metadata(&path).with_context(|| format!("cargo packed no {}", path.display()))?.len();
        faults.extend(too_large(&package.name, bytes));
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    match faults.len() {
        0 => Ok(()),
        n => bail!("{n} faults in {} packages", published.len()),
    }
}

fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// Where cargo packs it.
fn archive(metadata: &Metadata, package: &Package) -> PathBuf {
    let name = format!("package/{}-{}.crate", package.name, package.version);
    metadata.target_directory.as_std_path().join(name)
}

/// What a reader of the registry would miss.
fn lacks(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent();
    let has_readme = package.readme.as_ref().zip(folder).is_some_and(|(readme, folder)| folder.join(readme).is_file());
    let facts = [
        ("README", has_readme),
        ("description", package.description.is_some()),
        ("documentation", package.documentation.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("categories", !package.categories.is_empty()),
        ("repository", package.repository.is_some()),
        ("license", package.license.is_some()),
    ];
    let missing = facts.iter().filter(|(_, is_there)| !is_there);
    missing.map(|(what, _)| format!("{}: has no {what}", package.manifest_path)).collect()
}

fn too_large(name: &str, bytes: u64) -> Option<String> {
    (bytes > MOST_BYTES).then(|| format!("{name}: {bytes} bytes packed, at most {MOST_BYTES} are taken"))
}

/// The parts of the demo model's weights, there while crates are packed.
struct Parts(Vec<PathBuf>);

impl Parts {
    /// By the rule of the crates' build scripts.
    fn write(root: &Path) -> Result<Self> {
        let whole = fs::read(root.join(WHOLE)).with_context(|| format!("cannot read {WHOLE}"))?;
        let mut written = Self(Vec::new());
        for (idx, folder) in PARTS.iter().enumerate() {
            let path = root.join(folder).join("part.bin");
            let range = idx * whole.len() / PARTS.len()..(idx + 1) * whole.len() / PARTS.len();
            written.0.push(path.clone());
            fs::write(&path, &whole[range]).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(written)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for path in &self.0 {
            // The next run writes it anew; git does not see it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(more: &str) -> Package {
        let text = format!(
            r#"{{"name": "x", "version": "1.0.0", "id": "x", "dependencies": [], "targets": [], "features": {{}},
            "manifest_path": "/nowhere/Cargo.toml", "metadata": null, "edition": "2024", "authors": [] {more}}}"#
        );
        serde_json::from_str(&text).expect("metadata")
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        assert_eq!(lacks(&package("")).len(), 7);
        let faults = lacks(&package(r#", "keywords": ["a"], "description": "b", "readme": "README.md""#));
        assert!(faults.iter().any(|fault| fault.ends_with("has no README")), "{faults:?}");
        assert_eq!(faults.len(), 5, "{faults:?}");
    }

    #[test]
    fn what_the_registry_would_refuse_is_found() {
        assert_eq!(too_large("x", MOST_BYTES), None);
        assert!(too_large("x", MOST_BYTES + 1).is_some());
    }

    #[test]
    fn crates_that_stay_here_are_not_packed() {
        assert!(is_published(&package("")));
        assert!(!is_published(&package(r#", "publish": []"#)));
    }
}
