//! Pictures that are edited by instructions, get a border or are drawn in two passes, by diffusers and by `smelt generate`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use testkit::{load_safetensors, psnr};

use super::{ask_diffusers, quietly};
use crate::smelt::{self, Profile};

const SCRIPT: &str = include_str!("edits.py");
/// The least PSNR of latents, in dB.
const LEAST_DB: f64 = 80.0;

/// What the script drew: a checkpoint, perhaps a picture to begin with, and how the command is to draw the same.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    typed: Vec<String>,
}

/// Draws every case in f32; fails if one is too far from diffusers.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/edits");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let cases = write_cases(&place)?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let mut n_below = 0;
    for case in &cases {
        let found = compare(&binary, &place.join(&case.name), case).with_context(|| case.name.clone())?;
        let is_below = found.is_nan() || found < LEAST_DB;
        n_below += usize::from(is_below);
        println!("{:<32} {found:6.1} dB{}", case.name, if is_below { " TOO FAR" } else { "" });
    }
    match n_below {
        0 => Ok(()),
        n => bail!("{n} results are too far from diffusers'"),
    }
}

fn write_cases(place: &Path) -> Result<Vec<Case>> {
    let lines = ask_diffusers(place, "edits.py", SCRIPT, &[place, &testkit::demo()])?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("edits.py said {line:?}"))).collect()
}

/// PSNR of the latents.
fn compare(binary: &Path, folder: &Path, case: &Case) -> Result<f64> {
    let latents = folder.join("latents.safetensors");
    let mut command = Command::new(binary);
    command.arg("generate").args(&case.typed).arg("-m").arg(folder.join("checkpoint"));
    let picture = folder.join("picture.png");
    if picture.exists() {
        command.arg("--image").arg(picture);
    }
    command.arg("-o").arg(folder.join("drawn.png"));
    quietly(command.arg("--latents").arg(&latents).args(["--precision", "float32"]))?;
    let of = |path: &Path| load_safetensors(path).remove("latents").context("no latents");
    let (want, got) = (of(&folder.join("reference.safetensors"))?, of(&latents)?);
    ensure!(want.shape() == got.shape(), "latents {:?}, not {:?}", got.shape(), want.shape());
    Ok(psnr(&want.to_f32_vec(), &got.to_f32_vec()))
}
