//! Pictures that ControlNets guide, of kinds that golden data lacks: holes, and edges. Drawn by diffusers and by us.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use testkit::{load_safetensors, psnr};

use super::{ask_diffusers, quietly};
use crate::smelt::{self, Profile};

const SCRIPT: &str = include_str!("controls.py");
/// The least PSNR of latents, in dB.
const DECIBELS: f64 = 80.0;

/// What diffusers drew, and the arguments that say the same.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    arguments: Vec<String>,
}

/// Draws every case; fails if one is too far from what diffusers drew.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/controls");
    fs::create_dir_all(&place)?;
    let checkpoints = testkit::golden_path().join("checkpoints");
    let (checkpoint, net) = (checkpoints.join("tiny-sd15"), checkpoints.join("tiny-controlnet"));
    ensure!(net.is_dir(), "no golden data at {}", checkpoints.display());
    let lines = ask_diffusers(&place, "controls.py", SCRIPT, &[&checkpoint, &net, &place])?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let mut n_below = 0;
    for line in lines.lines() {
        let case: Case = serde_json::from_str(line).with_context(|| format!("controls.py said {line:?}"))?;
        let decibels = compare(&binary, &place, &case, [&checkpoint, &net])?;
        let is_below = decibels < DECIBELS;
        n_below += usize::from(is_below);
        println!("{:<16} {decibels:6.1} dB{}", case.name, if is_below { " TOO FAR" } else { "" });
    }
    match n_below {
        0 => Ok(()),
        n => bail!("{n} pictures are too far from those of diffusers"),
    }
}

/// PSNR of our latents against those of diffusers.
fn compare(binary: &Path, place: &Path, case: &Case, [checkpoint, net]: [&Path; 2]) -> Result<f64> {
    let file = |end: &str| place.join(format!("{}{end}", case.name));
    let latents = file("-ours.safetensors");
    let mut command = Command::new(binary);
    command.arg("generate").args(&case.arguments).arg("-m").arg(checkpoint).arg("--controlnet").arg(net);
    command.arg("--control-image").arg(file(".png")).arg("--latents").arg(&latents).arg("-o").arg(file("-ours.png"));
    quietly(command.args(["--precision", "float32"]))?;
    let read = |path: &Path| load_safetensors(path).remove("latents").context("no latents");
    let (want, got) = (read(&file(".safetensors"))?, read(&latents)?);
    ensure!(want.shape() == got.shape(), "latents {:?}, not {:?}", got.shape(), want.shape());
    Ok(psnr(&want.to_f32_vec(), &got.to_f32_vec()))
}
