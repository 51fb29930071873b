//! `cargo xtask cross`: the product type-checked and linted for systems that this machine is not.
//!
//! Nothing is linked and nothing runs, so what dependencies have of C is not compiled either: a compiler that makes empty files
//! stands in for one that would need an SDK. A target's standard library is the one that rustup installed for it, or is compiled
//! from its source by the toolchain of Debian and Ubuntu, which needs no SDK, no linker and no server but the registry's.
//! Where neither is there, it says what to install.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValuesParser;

use crate::{
    smelt::{cargo, target_dir},
    workspace_root,
};

/// For which systems.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The systems; default: all.
    #[arg(value_name = "SYSTEM", value_parser = PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    systems: Vec<String>,
}

/// A system.
struct Target {
    name: &'static str,
    triple: &'static str,
    /// What is checked, in this order: cargo's arguments.
    checks: &'static [&'static [&'static str]],
}

const TARGETS: &[Target] = &[
    Target {
        name: "macos",
        triple: "aarch64-apple-darwin",
        checks: &[&["-p=sd-engines", "--all-targets"], &["-p=smelt-diffusion", "-p=smelt-cli"]],
    },
    Target {
        name: "ios",
        triple: "aarch64-apple-ios",
        // A command line has no place there.
        checks: &[&["-p=sd-engines", "-p=smelt-diffusion", "--lib"]],
    },
];

/// What Debian and Ubuntu call the toolchain that brings the source of the standard library.
const DEBIAN: &str = "rustc-web cargo-web rust-web-src rust-web-clippy";

/// What compiles for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Toolchain {
    /// The one that compiled this, which has the target's standard library.
    Own,
    /// One that compiles the standard library first; its programs are in this folder.
    FromSource { bin: PathBuf, has_clippy: bool },
}

impl Toolchain {
    /// # Errors
    /// What to install.
    fn find(target: &Target, root: &Path) -> Result<Self> {
        if own_library(target.triple).is_some_and(|folder| has_library(&folder)) {
            return Ok(Self::Own);
        }
        Self::from_source(root).with_context(|| {
            format!(
                "there is no standard library of Rust for {0}; install one:\n  rustup target add {0}\nor on Debian and \
                 Ubuntu (as root), beside rustup and without touching it:\n  apt-get update && apt-get install -y \
                 --no-install-recommends {DEBIAN}",
                target.triple
            )
        })
    }

    /// The toolchain of Debian's packages, in the root folder of a system.
    fn from_source(root: &Path) -> Option<Self> {
        let bin = root.join("usr/bin");
        let source = root.join("usr/lib/rustlib/src/rust/library/Cargo.toml");
        let is_there = ["cargo", "rustc"].iter().all(|name| bin.join(name).is_file()) && source.is_file();
        let has_clippy = bin.join("cargo-clippy").is_file();
        is_there.then_some(Self::FromSource { bin, has_clippy })
    }

    const fn has_clippy(&self) -> bool {
        match self {
            Self::Own => true,
            Self::FromSource { has_clippy, .. } => *has_clippy,
        }
    }

    /// The command that checks packages for a target, in a folder for what it compiles.
    fn command(&self, target: &Target, check: &[&str], folder: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Own => cargo(),
            Self::FromSource { bin, .. } => {
                let mut command = cargo_of(bin)?;
                // The source of the standard library, and the flag that compiles it, are for compilers of a nightly; this
                // one is told that it is one.
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.arg(if self.has_clippy() { "clippy" } else { "check" });
        command.args(["--locked", "--target", target.triple, "--target-dir"]).arg(folder);
        if matches!(self, Self::FromSource { .. }) {
            command.arg("-Zbuild-std");
        }
        command.args(check);
        if self.has_clippy() {
            command.args(["--", "-D", "warnings"]);
        }
        Ok(command)
    }
}

/// A C compiler whose outputs are empty.
const NO_COMPILER: &str = "#!/bin/sh
# Nothing is linked, so what would be compiled is left out: each output is an empty file.
case \"$1\" in
  -E) echo '\"clang\"'; exit ;; # Which compiler is it?
  '-?') exit 1 ;; # No option of clang's.
esac
while [ $# -gt 0 ]; do
  if [ \"$1\" = -o ]; then : > \"$2\"; fi
  shift
done
";

/// Writes that compiler, for a target whose own this machine has not.
fn no_compiler(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("no-compiler");
    fs::create_dir_all(folder)?;
    fs::write(&path, NO_COMPILER).with_context(|| format!("cannot write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// Cargo of another toolchain than the one that compiled this, whose variables would lead it astray.
fn cargo_of(bin: &Path) -> Result<Command> {
    let mut path = vec![bin.to_owned()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let path: OsString = env::join_paths(path).context("PATH")?;
    let mut command = Command::new(bin.join("cargo"));
    command.current_dir(workspace_root());
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(name);
    }
    command.env("PATH", path).env("RUSTC", bin.join("rustc"));
    Ok(command)
}

/// Where the compiler looks for a target's standard library.
fn own_library(triple: &str) -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", triple]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(PathBuf::from(folder.trim()))
}

fn has_library(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Checks for every system that was named; the error names the first that fails.
#[allow(clippy::print_stderr, reason = "progress of a command")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_asked =
        |target: &&Target| arguments.systems.is_empty() || arguments.systems.iter().any(|system| system == target.name);
    let folder = target_dir()?.join("cross");
    let compiler = no_compiler(&folder)?;
    for target in TARGETS.iter().filter(is_asked) {
        let toolchain = Toolchain::find(target, Path::new("/"))?;
        if !toolchain.has_clippy() {
            eprintln!("cross: without lints, for which the package rust-web-clippy is missing");
        }
        for check in target.checks {
            eprintln!("cross: {} ({}): {}", target.name, target.triple, check.join(" "));
            let start = Instant::now();
            let mut command = toolchain.command(target, check, &folder)?;
            if cfg!(not(target_vendor = "apple")) {
                command.env(format!("CC_{}", target.triple.replace('-', "_")), &compiler).env("SDKROOT", &folder);
            }
            let status = command.status().context("cannot start cargo")?;
            ensure!(status.success(), "cross: {}: {} failed", target.name, check.join(" "));
            eprintln!("cross: {:.1} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with these files.
    fn root(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        root
    }

    const LIBRARY: &str = "usr/lib/rustlib/src/rust/library/Cargo.toml";

    #[test]
    fn a_toolchain_from_source_is_whole_or_none() {
        let whole = root(&["usr/bin/cargo", "usr/bin/rustc", LIBRARY]);
        let bin = whole.path().join("usr/bin");
        assert_eq!(Toolchain::from_source(whole.path()), Some(Toolchain::FromSource { bin, has_clippy: false }));
        let linting = root(&["usr/bin/cargo", "usr/bin/rustc", "usr/bin/cargo-clippy", LIBRARY]);
        assert!(Toolchain::from_source(linting.path()).expect("it is there").has_clippy());
        assert_eq!(Toolchain::from_source(root(&["usr/bin/cargo", "usr/bin/rustc"]).path()), None);
        assert_eq!(Toolchain::from_source(root(&["usr/bin/cargo", LIBRARY]).path()), None);
    }

    #[test]
    fn what_is_missing_is_said_with_what_installs_it() {
        let target = Target { name: "none", triple: "no-such-target", checks: &[] };
        let error = Toolchain::find(&target, root(&[]).path()).expect_err("there is none").to_string();
        for words in ["rustup target add no-such-target", "apt-get install -y --no-install-recommends rustc-web"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_compiler_that_is_none_makes_its_output_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let compiler = no_compiler(folder.path()).expect("a script");
        let output = folder.path().join("a.o");
        let status =
            Command::new(compiler).args(["-O0", "-arch", "arm64", "-o"]).arg(&output).args(["-c", "a.c"]).status();
        assert!(status.expect("it runs").success());
        assert_eq!(fs::metadata(output).expect("it is there").len(), 0);
    }

    #[test]
    fn the_other_cargo_compiles_the_library_in_a_folder_of_its_own() {
        let toolchain = Toolchain::FromSource { bin: "/usr/bin".into(), has_clippy: true };
        let command = toolchain.command(&TARGETS[0], &["-p=a"], Path::new("target/cross")).expect("a command");
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let expected =
            "clippy --locked --target aarch64-apple-darwin --target-dir target/cross -Zbuild-std -p=a -- -D warnings";
        assert_eq!(arguments.join(" "), expected);
        assert_eq!(command.get_program(), "/usr/bin/cargo");
        assert!(command.get_envs().any(|(name, value)| name == "RUSTUP_TOOLCHAIN" && value.is_none()));
        let own = Toolchain::Own.command(&TARGETS[0], &["-p=a"], Path::new("x")).expect("a command");
        assert!(own.get_args().all(|argument| argument != "-Zbuild-std"));
    }
}
