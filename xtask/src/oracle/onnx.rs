//! Packages of the example that takes ONNX files, compared with ONNX Runtime on fresh inputs.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use super::{networks::worst_psnr, packages_in, quietly};
use crate::{
    python::{self, succeed},
    smelt::{self, Profile},
    workspace_root,
};

const REQUIREMENTS: [&str; 3] = ["numpy==2.4.6", "onnxruntime==1.32.0", "safetensors==0.8.0"];
/// The least PSNR of a package in float32, in dB.
const LEAST_DB: f64 = 80.0;
/// Inputs are drawn so often.
const SEEDS: std::ops::RangeInclusive<u32> = 1..=5;

/// Fails if a package is too far from ONNX Runtime.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/onnx");
    let python = python::ensure_venv(&place.with_file_name("onnx-venv"), &REQUIREMENTS)?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let packages = place.join("packages");
    fs::create_dir_all(&packages)?;
    succeed(smelt::cargo().args(["run", "--quiet", "-p", "onnx-to-coreml", "--"]).arg(&packages).arg("float32"))?;
    let mut n_below = 0;
    for seed in SEEDS {
        let script = workspace_root().join("crates/onnx-to-coreml/models/run.py");
        succeed(Command::new(&python).arg(script).arg(&place).arg(seed.to_string()))?;
        for package in packages_in(&packages)? {
            let name = package.file_stem().context("a package without a name")?.to_string_lossy().into_owned();
            let reference = place.join(&name).with_extension("safetensors");
            let outputs = place.join("outputs.safetensors");
            let mut run = Command::new(&binary);
            quietly(run.arg("run").arg(&package).arg("--inputs").arg(&reference).arg("--outputs").arg(&outputs))?;
            let worst = worst_psnr(&reference, &outputs).with_context(|| name.clone())?;
            n_below += usize::from(worst < LEAST_DB);
            println!("{name:<12} seed {seed}  {worst:6.1} dB{}", if worst < LEAST_DB { " TOO FAR" } else { "" });
        }
    }
    match n_below {
        0 => Ok(()),
        n => bail!("{n} results are too far from ONNX Runtime's"),
    }
}
