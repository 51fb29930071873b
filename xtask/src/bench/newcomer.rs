//! What a newcomer goes through: a fresh clone with empty caches, the README's first command to a picture, and then
//! its second, the tests.
//!
//! Crates are downloaded anew, so the figures hold the network too.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::record::Metrics;
use crate::{smelt, workspace_root};

/// The README's commands.
const FIRST: &str = "cargo run --release -- generate \"a red heart\" -o heart.png";
const SECOND: &str = "cargo test --workspace";

/// Clones what is committed, and runs both commands.
pub(super) fn run() -> Result<Metrics> {
    let place = smelt::target_dir()?.join("bench/newcomer");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let [clone, home] = ["clone", "cargo-home"].map(|name| place.join(name));
    fs::create_dir_all(&home)?;
    // Where to find the registry is a matter of the machine, and no cache.
    if let Some(settings) = std::env::var_os("CARGO_HOME").map(|own| Path::new(&own).join("config.toml"))
        && settings.is_file()
    {
        fs::copy(&settings, home.join("config.toml"))?;
    }
    let status = Command::new("git").args(["clone", "--quiet"]).arg(workspace_root()).arg(&clone).status()?;
    ensure!(status.success(), "git clone failed");
    let mut metrics = Metrics::default();
    metrics.add("first_picture_s", "s", time(FIRST, &clone, &home)?);
    let picture = clone.join("heart.png");
    ensure!(picture.is_file(), "the first command drew no {}", picture.display());
    metrics.add("tests_s", "s", time(SECOND, &clone, &home)?);
    fs::remove_dir_all(&place)?;
    Ok(metrics)
}

/// Seconds that a command takes in the clone.
fn time(command: &str, clone: &Path, home: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(clone).stdout(Stdio::null());
    // What cargo tells the programs that it runs would reach the inner one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO") {
            shell.env_remove(name);
        }
    }
    shell.env("CARGO_HOME", home).env("RUSTC_WRAPPER", "").env("SMELT_CACHE", clone.join("target"));
    let status = shell.status().context("cannot start sh")?;
    ensure!(status.success(), "{command}: {status}");
    Ok(start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_the_readmes() {
        let readme = fs::read_to_string(workspace_root().join("README.md")).expect("README.md");
        for command in [FIRST, SECOND] {
            assert!(
                readme.contains(&format!("```sh\n{command}\n")),
                "README.md has no block that begins with {command}"
            );
        }
    }
}
