//! Python as other commands use it: a virtual environment with pinned packages, made once below the target folder.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The Python of a virtual environment at `venv` that has these packages, each as `NAME==VERSION`.
///
/// An environment that has them already is used as it is; otherwise it is made anew, which needs the network.
pub(crate) fn ensure_venv(venv: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let is_ready = Command::new(&python)
        .args(["-c", &probe(requirements)])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if is_ready {
        return Ok(python);
    }
    let system = ["python3.11", "python3.12", "python3"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
        .context("no Python found")?;
    succeed(Command::new(system).args(["-m", "venv", "--clear"]).arg(venv))?;
    if !requirements.is_empty() {
        succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(requirements))?;
    }
    Ok(python)
}

/// A program that fails unless exactly these packages are installed.
fn probe(requirements: &[&str]) -> String {
    let check = |requirement: &&str| {
        let (name, version) = requirement.split_once("==").unwrap_or((requirement, ""));
        format!("assert version('{name}') == '{version}'")
    };
    let checks: Vec<String> = requirements.iter().map(check).collect();
    format!("from importlib.metadata import version\n{}", checks.join("\n"))
}

/// Runs a command to its successful end.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_asks_for_every_pinned_version() {
        let wanted =
            "from importlib.metadata import version\nassert version('a') == '1.0'\nassert version('b-c') == '2'";
        assert_eq!(probe(&["a==1.0", "b-c==2"]), wanted);
    }
}
