//! The packages that are measured, and `smelt` on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    bench::{
        ground,
        process::{self, Usage, fresh, warm},
    },
    smelt,
};

/// How ours was measured, for the record.
pub(super) const NOTE: &str = "ours: smelt bench, a process for each model and turn, one run to warm up; GFLOP of the \
                               direct form (UNet step of batch 2 1600.7, without the text's keys and \
                               values, which are computed once; VAE decode 2514, text encoder 13.3); shares \
                               are of the f32 peak of all threads measured before and after each run; peak_mb: \
                               RssAnon + RssShmem every 2 ms, and all bytes of the mapped weights";

/// A binary, and packages that it made.
#[derive(Debug)]
pub(super) struct Ours {
    binary: PathBuf,
    /// Where packages and pictures go.
    dir: PathBuf,
    /// What the packages were made from.
    pub(super) checkpoint: PathBuf,
}

/// All that `smelt bench --json` says.
#[derive(Debug, Deserialize)]
pub(super) struct Reports {
    /// Instruction set.
    pub(super) isa: String,
    pub(super) threads: usize,
    pub(super) models: Vec<Report>,
}

/// What `smelt bench --json` says of a package.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) package: PathBuf,
    pub(super) load_s: f64,
    pub(super) median_s: f64,
    pub(super) gflop: f64,
    pub(super) peak_gflops: f64,
    pub(super) share_of_peak: f64,
    pub(super) weight_bytes: u64,
    pub(super) profile: Vec<Step>,
}

/// A step of its plan.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) kernel: String,
    pub(super) seconds: f64,
    pub(super) gflop: f64,
}

impl Ours {
    /// Makes the checkpoint if need be, and the packages anew, so that they are what this binary makes: it takes
    /// seconds.
    pub(super) fn new(binary: PathBuf, scratch: &Path) -> Result<Self> {
        let checkpoint = ground::sd15(scratch)?;
        let ours = Self { binary, dir: scratch.join("engine"), checkpoint };
        fs::create_dir_all(&ours.dir)?;
        fresh(&ours.packages())?;
        let mut convert = smelt::convert(&ours.binary, &ours.checkpoint, &ours.packages());
        // The name makes those of the packages.
        convert.args(["--component", "text-encoder,unet,vae-decoder", "--model-version", "bench"]);
        process::run(&mut convert)?;
        let unet6 = ours.unet_of_6_bits();
        fresh(&unet6)?;
        let mut compress = Command::new(&ours.binary);
        compress.arg("compress").arg(ours.package("unet")).arg("-o").arg(&unet6).args(["--bits", "6"]);
        process::run(&mut compress)?;
        Ok(ours)
    }

    fn packages(&self) -> PathBuf {
        self.dir.join("packages")
    }

    /// The package of a component.
    pub(super) fn package(&self, role: &str) -> PathBuf {
        self.packages().join(format!("Stable_Diffusion_version_bench_{role}.mlpackage"))
    }

    /// The UNet, palettized. It lies apart, for a directory of packages has one UNet.
    pub(super) fn unet_of_6_bits(&self) -> PathBuf {
        self.dir.join("unet6.mlpackage")
    }

    /// The UNet for pictures of 768x768, converted anew.
    pub(super) fn unet_of_768(&self) -> Result<PathBuf> {
        let dir = self.dir.join("unet768");
        fresh(&dir)?;
        let mut convert = smelt::convert(&self.binary, &self.checkpoint, &dir);
        convert.args(["--component", "unet", "--model-version", "bench", "--latent-size", "96x96"]);
        process::run(&mut convert)?;
        Ok(dir.join("Stable_Diffusion_version_bench_unet.mlpackage"))
    }

    /// `smelt run` of the UNet on a file of inputs, with an option and its value.
    pub(super) fn run(&self, inputs: &Path, outputs: &Path, how: [&str; 2]) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg(self.package("unet"))
            .arg("--inputs")
            .arg(inputs)
            .arg("--outputs")
            .arg(outputs)
            .args(how);
        process::run(&mut command)?;
        Ok(())
    }

    /// An empty directory for other files.
    pub(super) fn empty(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fresh(&dir)?;
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// `smelt bench` of a package or a directory of them, in a process of its own.
    pub(super) fn bench(&self, path: &Path, n_runs: usize) -> Result<(Usage, Reports)> {
        let mut command = Command::new(&self.binary);
        command.arg("bench").arg(path).args(["--json", "--profile", "--runs", &n_runs.to_string()]);
        let (usage, text) = process::output(&mut command)?;
        Ok((usage, serde_json::from_str(&text).context("smelt bench prints something else now")?))
    }

    /// `smelt generate`, 512x512.
    pub(super) fn draw(&self, n_steps: usize) -> Result<Usage> {
        let picture = self.dir.join("picture.png");
        fresh(&picture)?;
        warm(&self.packages())?;
        let mut command = Command::new(&self.binary);
        command.args(["generate", "a lighthouse at dusk, oil painting", "--steps", &n_steps.to_string()]);
        let usage = process::run(command.arg("--model").arg(self.packages()).arg("--output").arg(&picture))?;
        fs::metadata(&picture).with_context(|| format!("generate left nothing at {}", picture.display()))?;
        Ok(usage)
    }
}
