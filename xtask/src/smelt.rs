//! The `smelt` binary as other commands use it: built by cargo, run on checkpoints.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use serde_json::Value;

use crate::workspace_root;

/// The cargo that runs this command.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace_root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().manifest_path(workspace_root().join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// Which of cargo's profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// What a build made.
#[derive(Debug)]
pub(crate) struct Built {
    /// The executable.
    pub(crate) binary: PathBuf,
    /// Number of packages that were compiled or reused for it.
    pub(crate) n_crates: usize,
}

/// Builds `smelt`; `configure` may add arguments and environment.
pub(crate) fn build(profile: Profile, configure: impl FnOnce(&mut Command)) -> Result<Built> {
    let mut command = cargo();
    command.args(["build", "--package", "smelt-cli", "--message-format", "json-render-diagnostics"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    configure(&mut command);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "smelt does not build");
    read_artifacts(&String::from_utf8_lossy(&output.stdout)).context("cargo named no executable `smelt`")
}

/// Reads cargo's messages, one JSON object per line.
fn read_artifacts(messages: &str) -> Option<Built> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut packages = std::collections::BTreeSet::new();
    let mut binary = None;
    for message in messages.filter(|message| message["reason"] == "compiler-artifact") {
        packages.extend(message["package_id"].as_str().map(str::to_owned));
        if message["target"]["name"] == "smelt" {
            binary = message["executable"].as_str().map(PathBuf::from).or(binary);
        }
    }
    Some(Built { binary: binary?, n_crates: packages.len() })
}

/// `smelt convert CHECKPOINT --output OUT`, ready to be given more arguments.
pub(crate) fn convert(binary: &Path, checkpoint: &Path, output: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("convert").arg(checkpoint).arg("-o").arg(output);
    command
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, with a slash at the end.
    pub(crate) url: String,
    _kept: tempfile::TempDir,
}

impl Server {
    /// Starts a server with the model in the box, on a free port.
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let kept = tempfile::tempdir()?;
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--json", "--keep"])
            .arg(kept.path())
            .env("SMELT_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))?;
        let url = told["url"].as_str().context("the server did not say where it listens")?.to_owned();
        Ok(Self { child, url, _kept: kept })
    }

    /// Of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_and_the_distinct_packages_are_read_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"half#2.7.1","target":{"name":"build-script-build"},"executable":null}
{"reason":"compiler-artifact","package_id":"half#2.7.1","target":{"name":"half"},"executable":null}
{"reason":"compiler-artifact","package_id":"smelt#0.1.0","target":{"name":"smelt"},"executable":"t/smelt"}
{"reason":"build-finished","success":true}"#;
        let built = read_artifacts(messages).expect("an executable");
        assert_eq!((built.binary, built.n_crates), (PathBuf::from("t/smelt"), 2));
        assert!(read_artifacts("{}\nnot json").is_none());
    }
}
