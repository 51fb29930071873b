//! Networks of shapes that golden data lacks: converted, run, and compared with PyTorch.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use testkit::{load_safetensors, psnr};

use super::{LAYOUTS, ask_diffusers, packages_in, quietly};
use crate::smelt::{self, Profile};

const SCRIPT: &str = include_str!("networks.py");
/// The least PSNR of each precision, in dB: as `crates/sd-convert/tests/golden.rs` has it.
const PRECISIONS: [(&str, f64); 2] = [("float32", 80.0), ("float16", 65.0)];
/// Latents of `networks.py`.
const LATENT_SIZE: &str = "16x16";

/// What the script wrote: a checkpoint, and what PyTorch makes of it.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    component: String,
}

/// Compares every case in every attention layout and precision; fails if one is too far from PyTorch.
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/networks");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let cases = write_cases(&place)?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let mut n_below = 0;
    for case in &cases {
        for layout in LAYOUTS {
            n_below += compare(&binary, &place.join(&case.name), case, layout)?;
        }
    }
    match n_below {
        0 => Ok(()),
        n => bail!("{n} results are too far from PyTorch's"),
    }
}

/// Has diffusers write checkpoints and PyTorch run them.
fn write_cases(place: &Path) -> Result<Vec<Case>> {
    let lines = ask_diffusers(place, "networks.py", SCRIPT, &[place])?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("networks.py said {line:?}"))).collect()
}

/// Prints a line for one layout; returns how many precisions are too far off.
#[allow(clippy::print_stdout, reason = "the table is the output")]
fn compare(binary: &Path, folder: &Path, case: &Case, layout: &str) -> Result<usize> {
    let mut line = format!("{:<38} {:<12} {layout:<16}", case.name, case.component);
    let mut n_below = 0;
    for (precision, least_db) in PRECISIONS {
        let package = convert(binary, folder, case, layout, precision)?;
        let outputs = folder.join("outputs.safetensors");
        let reference = folder.join("reference.safetensors");
        let mut run = Command::new(binary);
        run.arg("run").arg(package).arg("--inputs").arg(&reference).arg("--outputs").arg(&outputs);
        quietly(&mut run)?;
        let worst = worst_psnr(&reference, &outputs).with_context(|| case.name.clone())?;
        let is_below = worst < least_db;
        n_below += usize::from(is_below);
        line += &format!("  {precision} {worst:6.1} dB{}", if is_below { " TOO FAR" } else { "" });
    }
    println!("{line}");
    Ok(n_below)
}

fn convert(binary: &Path, folder: &Path, case: &Case, layout: &str, precision: &str) -> Result<PathBuf> {
    let output = folder.join("packages");
    let mut command = smelt::convert(binary, &folder.join("checkpoint"), &output);
    command.args(["--component", &case.component, "--latent-size", LATENT_SIZE, "--attention", layout]);
    quietly(command.args(["--precision", precision, "--force"]))?;
    let packages = packages_in(&output)?;
    let [package] = &packages[..] else { bail!("{} packages in {}", packages.len(), output.display()) };
    Ok(package.clone())
}

/// The worst output's PSNR against the reference, which must have the same outputs of the same shapes.
pub(super) fn worst_psnr(reference: &Path, outputs: &Path) -> Result<f64> {
    let wanted: BTreeMap<_, _> = load_safetensors(reference)
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("out.")?.to_owned(), tensor)))
        .collect();
    let found: BTreeMap<_, _> = load_safetensors(outputs)
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("out.").unwrap_or(&name).to_owned(), tensor))
        .collect();
    ensure!(wanted.keys().eq(found.keys()), "outputs {:?}, not {:?}", found.keys(), wanted.keys());
    let mut worst = f64::INFINITY;
    for (name, want) in &wanted {
        let got = &found[name];
        ensure!(got.shape() == want.shape(), "{name} is {:?}, not {:?}", got.shape(), want.shape());
        worst = worst.min(psnr(&want.to_f32_vec(), &got.to_f32_vec()));
    }
    Ok(worst)
}
