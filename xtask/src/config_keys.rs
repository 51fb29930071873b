//! `cargo xtask config-keys`: the keys that configuration classes define, read off their sources into `crates/sd-spec`.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{python, workspace_root};

/// Writes `crates/sd-spec/classes.json` anew; needs Python and network.
pub(crate) fn run() -> Result<()> {
    let root = workspace_root();
    let python = python::ensure_venv(&root.join("target/config-keys"), &[])?;
    let output = Command::new(python).arg("-c").arg(include_str!("config_keys.py")).output();
    let output = output.context("cannot start Python")?;
    ensure!(output.status.success(), "config_keys.py: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(root.join("crates/sd-spec/classes.json"), output.stdout).context("cannot write classes.json")
}
