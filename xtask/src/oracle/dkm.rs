//! Differentiable k-means as coremltools computes it: the numbers that a test of `sd-finetune` compares with, made again.

use std::{fs, process::Command, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{python, smelt, workspace_root};

const REQUIREMENTS: [&str; 4] = ["torch==2.9.0", "coremltools==9.0", "numpy==1.26.4", "scikit-learn==1.5.1"];
const SCRIPT: &str = include_str!("dkm.py");
/// Where the numbers are.
const NUMBERS: &str = "crates/sd-finetune/src/soft/coremltools.json";
/// Machines may differ by so much.
const TOLERANCE: f64 = 1e-5;

/// Fails if the committed numbers are not what coremltools gives.
#[allow(clippy::print_stdout, reason = "the verdict is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/dkm");
    fs::create_dir_all(&place)?;
    let python = python::ensure_venv(&place.with_file_name("dkm-venv"), &REQUIREMENTS)?;
    let script = place.join("dkm.py");
    fs::write(&script, SCRIPT)?;
    let output = Command::new(python).arg(script).stderr(Stdio::null()).output().context("cannot start Python")?;
    ensure!(output.status.success(), "dkm.py: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let found: Value = serde_json::from_str(text.lines().last().context("dkm.py printed nothing")?)?;
    let path = workspace_root().join(NUMBERS);
    let known: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    for name in known.as_object().context("no object of numbers")?.keys() {
        let (found, known) = (numbers(&found[name])?, numbers(&known[name])?);
        ensure!(found.len() == known.len(), "{name}: {} numbers, and {} in {NUMBERS}", found.len(), known.len());
        let most = found.iter().zip(&known).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{name:<10} {:4} numbers, off by {most:.1e} at most", found.len());
        ensure!(most <= TOLERANCE, "{name} is not what {NUMBERS} has");
    }
    Ok(())
}

fn numbers(list: &Value) -> Result<Vec<f64>> {
    let list = list.as_array().context("no list of numbers")?;
    list.iter().map(|value| value.as_f64().context("no number")).collect()
}
