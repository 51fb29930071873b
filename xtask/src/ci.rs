//! `cargo xtask ci`: what CI runs, cheapest first, until something fails.
//!
//! The test step is the README's test command, so that neither runs twice. No network beyond cargo's, no Python, no GPU.
//! Where the folder of golden data is there, none of its cases may be skipped; the last lines count them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use testkit::tally::{self, Tally};

use crate::{
    codegen, e2e, package,
    smelt::{self, cargo},
    tidy,
};

/// One check.
struct Step {
    name: &'static str,
    check: Check,
}

enum Check {
    /// A cargo command that must succeed.
    Cargo(&'static [&'static str]),
    /// Another command of xtask.
    Own(fn() -> Result<()>),
}

const STEPS: &[Step] = &[
    Step { name: "format", check: Check::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", check: Check::Own(tidy::run) },
    Step { name: "codegen", check: Check::Own(|| codegen::run(true)) },
    Step { name: "package", check: Check::Own(package::run) },
    Step { name: "clippy", check: Check::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]) },
    Step {
        name: "clippy with Burn",
        check: Check::Cargo(&[
            "clippy",
            "-p=sd-engines",
            "-p=smelt-diffusion",
            "-p=smelt-cli",
            "--all-targets",
            "--features=burn",
            "--",
            "-D",
            "warnings",
        ]),
    },
    Step { name: "test", check: Check::Cargo(&["test", "--workspace"]) },
    Step { name: "e2e, a few cases", check: Check::Own(e2e::smoke) },
    Step {
        name: "test with Burn",
        check: Check::Cargo(&["test", "-p=sd-engines", "-p=smelt-cli", "--features=burn", "--test=burn"]),
    },
    Step { name: "doc", check: Check::Cargo(&["doc", "--workspace", "--no-deps"]) },
];

/// Runs every step; the error names the step that failed.
#[allow(clippy::print_stderr, reason = "progress of a command")]
pub(crate) fn run() -> Result<()> {
    let begin = Instant::now();
    let notes = fresh_notes()?;
    for step in STEPS {
        eprintln!("ci: {}", step.name);
        let start = Instant::now();
        step.check.run(&notes).with_context(|| format!("ci: {} failed", step.name))?;
        eprintln!("ci: {} took {:.1} s", step.name, start.elapsed().as_secs_f64());
    }
    let Tally { n_ran, n_skipped } = Tally::read(&notes)?;
    eprintln!("ci: {n_ran} golden cases ran, {n_skipped} were skipped ({})", testkit::golden_path().display());
    eprintln!("ci: all {} steps passed in {:.1} s", STEPS.len(), begin.elapsed().as_secs_f64());
    Ok(())
}

/// Where the tests note their golden cases, with nothing of an earlier run.
fn fresh_notes() -> Result<PathBuf> {
    let target = smelt::target_dir()?;
    fs::create_dir_all(&target)?;
    let notes = target.join("golden-cases.txt");
    fs::write(&notes, "").with_context(|| format!("cannot write {}", notes.display()))?;
    Ok(notes)
}

impl Check {
    fn run(&self, notes: &Path) -> Result<()> {
        match self {
            Self::Own(check) => check(),
            Self::Cargo(arguments) => {
                let mut command = cargo();
                command.args(*arguments).env(tally::VARIABLE, notes);
                if testkit::golden_path().is_dir() {
                    command.env("SMELT_GOLDEN_REQUIRED", "1");
                }
                // Only rustdoc reads this variable.
                let status = command.env("RUSTDOCFLAGS", "-D warnings").status();
                let status = status.context("cannot start cargo")?;
                ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_cargo_command_is_named() {
        let fault = Check::Cargo(&["no-such-subcommand"]).run(Path::new("notes")).expect_err("there is none");
        assert!(fault.to_string().starts_with("cargo no-such-subcommand: "), "{fault}");
    }

    #[test]
    fn the_cheap_checks_come_before_the_ones_that_compile() {
        let position = |name| STEPS.iter().position(|step| step.name == name);
        assert!(position("tidy") < position("clippy") && position("codegen") < position("clippy"));
        assert!(position("clippy") < position("test"));
    }
}
