//! What the server adds to a picture, and what two hundred clients at once get of it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    ground,
    process::{self, fresh},
    record::Metrics,
};
use crate::{
    python::ensure_venv,
    smelt::{self, Profile, Server},
};

const LOAD: &str = include_str!("load.py");
const N_CLIENTS: u32 = 200;
const SECONDS: u32 = 300;
/// What both draw.
const PROMPT: &str = "red heart";
const STEPS: &str = "20";

/// Measures `n_runs` pictures of each, and then the load.
pub(super) fn run(n_runs: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let python = ensure_venv(&scratch.join("python"), &[])?;
    let script = scratch.join("load.py");
    fs::write(&script, LOAD)?;
    let server = Server::start(&binary)?;
    let ask = |mode: &str, n: u32, seconds: u32| -> Result<Value> {
        let mut command = Command::new(&python);
        let numbers = [n.to_string(), seconds.to_string(), server.id().to_string(), STEPS.to_owned()];
        command.arg(&script).arg(mode).arg(&server.url).args(numbers).stderr(Stdio::inherit());
        let (_, text) = process::output(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("{mode} told {text:?}"))
    };
    let mut metrics = Metrics::default();
    ask("pictures", 1, 0)?;
    for _ in 0..n_runs {
        let served = number(&ask("pictures", 1, 0)?, "picture_s")?;
        let alone = alone(&binary, &scratch)?;
        metrics.add("served_s", "s, from the request to the file", served);
        metrics.add("alone_s", "s, a picture of smelt generate without loading", alone);
        metrics.add("ratio", "served_s / alone_s", served / alone);
    }
    let found = ask("load", N_CLIENTS, SECONDS)?;
    for (name, unit) in [
        ("pictures", "finished and fetched by who asked for them"),
        ("lost", "jobs"),
        ("mixed_up", "pictures of others"),
        ("p50_ms", "ms, calls that draw nothing"),
        ("p99_ms", "ms, calls that draw nothing"),
        ("resident_min", "bytes, after the first minute"),
        ("resident_max", "bytes, after the first minute"),
    ] {
        metrics.add(name, unit, number(&found, name)?);
    }
    ensure!(found["lost"] == 0 && found["mixed_up"] == 0, "jobs were lost or mixed up: {found}");
    metrics.note(
        "note",
        format!("{N_CLIENTS} clients for {SECONDS} s, one step of the model in the box each time; {PROMPT}"),
    );
    Ok(metrics)
}

fn number(found: &Value, name: &str) -> Result<f64> {
    found[name].as_f64().with_context(|| format!("no {name} in {found}"))
}

/// Seconds of a picture without a server: the median of several in one run, without what loading takes.
fn alone(binary: &Path, scratch: &Path) -> Result<f64> {
    let folder = scratch.join("alone");
    fresh(&folder)?;
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(binary);
    command.args(["generate", PROMPT, "--steps", STEPS, "--scheduler", "euler", "--count", "3", "--json", "-o"]);
    let (_, text) = process::output(command.arg(folder.join("heart.png")))?;
    let last = text.lines().last().context("smelt generate told nothing")?;
    let told: Value = serde_json::from_str(last)?;
    Ok((number(&told, "seconds")? - number(&told, "load_s")?) / 3.0)
}
