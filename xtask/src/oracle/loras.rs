//! LoRAs of kinds that golden data lacks, merged by diffusers, peft and LyCORIS, and by Smelt.

use std::{fs, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::ask_diffusers;
use crate::smelt;

const SCRIPT: &str = include_str!("loras.py");

/// What the script wrote: a checkpoint, a LoRA, and what another program makes of both.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    lora: PathBuf,
    weight: f32,
    by: String,
}

/// Fails if a merged weight is more than a step of f16 away.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/loras");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let mut n_wrong = 0;
    for line in ask_diffusers(&place, "loras.py", SCRIPT, &[&place])?.lines() {
        let case: Case = serde_json::from_str(line).with_context(|| format!("loras.py said {line:?}"))?;
        let folder = place.join(&case.name);
        let mut compare = smelt::cargo();
        compare.args(["run", "--quiet", "-p", "sd-checkpoint", "--example", "lora_against", "--"]);
        compare.arg(folder.join("checkpoint")).arg(&case.lora).arg(case.weight.to_string()).arg(folder.join("merged"));
        let output = compare.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        let verdict = String::from_utf8_lossy(&output.stdout);
        let word = if output.status.success() { "" } else { " TOO FAR" };
        println!("{:<26} {:<18} {}{word}", case.name, case.by, verdict.trim());
        n_wrong += usize::from(!output.status.success());
    }
    match n_wrong {
        0 => Ok(()),
        n => bail!("{n} LoRAs are merged otherwise"),
    }
}
