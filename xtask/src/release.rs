//! `cargo xtask release`: what people install, as one archive for this platform.
//!
//! The stripped binary, completions, manual pages, the licences of everything that is in it, and checksums.
//! The same commit and toolchain give the same bytes: paths of the machine are mapped away, and the archive has no times,
//! no owners and one order.

mod archive;
mod licences;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{CargoOpt, MetadataCommand};

use crate::{
    e2e::hash,
    smelt::{self, Profile},
    workspace_root,
};
use archive::Entry;

const SHELLS: [(&str, &str); 5] = [
    ("bash", "smelt.bash"),
    ("zsh", "_smelt"),
    ("fish", "smelt.fish"),
    ("powershell", "_smelt.ps1"),
    ("elvish", "smelt.elv"),
];

/// Builds, collects and packs; says where the archive is.
#[allow(clippy::print_stdout, reason = "a command says what it made")]
pub(crate) fn run() -> Result<()> {
    let root = workspace_root();
    let host = host()?;
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .other_options(["--filter-platform".to_owned(), host.clone()])
        .exec()?;
    let product = metadata.packages.iter().find(|p| *p.name == "smelt-cli").context("there is no crate smelt-cli")?;
    let name = format!("smelt-{}-{host}", product.version);
    let place = metadata.target_directory.as_std_path().join("dist");
    let binary = build(&root, &place)?;
    let mut entries = collect(&root, &binary)?;
    entries.insert("LICENCES.txt".into(), Entry::text(licences::collect(&metadata, &product.id)?));
    entries.insert("SHA256SUMS".into(), Entry::text(sums(&entries)));
    let path = place.join(format!("{name}.tar.gz"));
    fs::write(&path, archive::write(&name, &entries)?).with_context(|| format!("cannot write {}", path.display()))?;
    let sum = format!("{}  {name}.tar.gz\n", hash::of_file(&path)?.sha256);
    fs::write(place.join(format!("{name}.tar.gz.sha256")), &sum)?;
    println!("{}\n{sum}", path.display());
    Ok(())
}

/// The platform of the compiler.
fn host() -> Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output();
    let output = output.context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// Builds the optimised binary without symbols and without paths of this machine, beside other builds.
fn build(root: &Path, place: &Path) -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).context("there is no home folder")?;
    let flags =
        [(root, "smelt"), (&home, "cargo")].map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    let built = smelt::build(Profile::Release, |command| {
        command.arg("--locked").arg("--target-dir").arg(place).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_INCREMENTAL", "0");
    })?;
    Ok(built.binary)
}

/// Everything but licences and checksums, by name.
fn collect(root: &Path, binary: &Path) -> Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    let file_name = binary.file_name().context("the binary has no name")?.to_string_lossy().into_owned();
    entries.insert(file_name, Entry::program(fs::read(binary)?));
    for name in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        entries.insert(name.into(), Entry::text(fs::read_to_string(root.join(name)).context(name)?));
    }
    for (shell, name) in SHELLS {
        let output = Command::new(binary).args(["completions", shell]).output()?;
        ensure!(output.status.success(), "smelt completions {shell}: {}", output.status);
        entries.insert(format!("completions/{name}"), Entry::text(String::from_utf8(output.stdout)?));
    }
    let pages = tempfile::tempdir()?;
    let status =
        Command::new(binary).arg("man").arg("-o").arg(pages.path()).stdout(std::process::Stdio::null()).status()?;
    ensure!(status.success(), "smelt man: {status}");
    for page in hash::files_below(pages.path())? {
        let name = page.strip_prefix(pages.path())?.to_string_lossy().replace('\\', "/");
        entries.insert(format!("man/{name}"), Entry::text(fs::read_to_string(&page)?));
    }
    Ok(entries)
}

/// What `sha256sum --check` reads.
fn sums(entries: &BTreeMap<String, Entry>) -> String {
    entries.iter().map(|(name, entry)| format!("{}  {name}\n", hash::of_bytes(&entry.bytes).sha256)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_name_every_file() {
        let entries =
            BTreeMap::from([("b".into(), Entry::text("abc".into())), ("a/x".into(), Entry::text(String::new()))]);
        let text = sums(&entries);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a/x");
        assert_eq!(lines[1], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b");
    }

    #[test]
    fn the_host_is_a_target_triple() {
        assert!(host().expect("a compiler").split('-').count() >= 3);
    }
}
