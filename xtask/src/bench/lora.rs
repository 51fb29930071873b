//! How long `smelt convert` takes with many LoRAs for a UNet, measured against copying the same UNet.
//!
//! As `convert`: a warm page cache, the same disk, turn by turn; `cp` does not wait for the disk and conversion does.
//! Copied is the UNet alone, while a conversion reads the LoRAs too: a few files, each of them several times with another
//! weight, since the work is the same and a disk need not hold twenty.
//!
//! However quickly the rest is done, the products of all factors take their multiplications: the least time is theirs at
//! the f32 peak of all threads, which is measured right before and after each merge, for machines are shared.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    convert::copy,
    ground,
    process::{self, fresh, warm},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::{self, PresetName},
    workspace_root,
};

const N_LORAS: usize = 20;
const N_FILES: usize = 2;
const RANK: usize = 64;

/// Measures `n_runs` pairs after one warm-up pair.
pub(super) fn run(preset: PresetName, n_runs: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let checkpoint = scratch.join(preset.name());
    synth::ensure_checkpoint(preset, &checkpoint, 0)?;
    let unet = checkpoint.join("unet");
    let loras: Vec<PathBuf> =
        (0..N_FILES).map(|i| scratch.join(format!("{}-lora-{i}.safetensors", preset.name()))).collect();
    for (seed, lora) in (1u64..).zip(&loras) {
        synth::ensure_lora(preset, lora, RANK, seed)?;
    }
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    metrics.note("loras", format!("{N_LORAS} of rank {RANK}, from {N_FILES} files"));
    metrics.note("component", "unet".to_owned());
    let gflop = 2e-9 * (synth::n_trained(preset, "unet") * RANK * N_LORAS) as f64;
    metrics.note("products", format!("{gflop:.1} GFLOP"));
    let (packages, small) = (scratch.join("packages"), small(&binary, &scratch.join("lora-peak"))?);
    for turn in 0..=n_runs {
        warm(&unet)?;
        let (copy_s, synced_s) = copy(&unet, &scratch.join("copy"))?;
        loras.iter().try_for_each(|lora| warm(lora))?;
        fresh(&packages)?;
        let mut command = smelt::convert(&binary, &checkpoint, &packages);
        command.args(["--component", "unet"]);
        for (i, lora) in loras.iter().cycle().take(N_LORAS).enumerate() {
            let mut asked = lora.clone().into_os_string();
            asked.push(format!(":{}", 0.05 * (i + 1) as f32));
            command.arg("--lora").arg(asked);
        }
        let before = peak_gflops(&binary, &small)?;
        let merge = process::run(&mut command)?;
        let peak = (before + peak_gflops(&binary, &small)?) / 2.0;
        fs::remove_dir_all(&packages).with_context(|| format!("nothing came to {}", packages.display()))?;
        if turn == 0 {
            continue;
        }
        let least_s = gflop / peak;
        metrics.add("f32_peak_gflops", "GFLOP/s", peak);
        metrics.add("least_s", "s", least_s);
        metrics.add("ratio_to_least", "merge_s / least_s", merge.seconds / least_s);
        metrics.add("least_ratio", "least_s / cp_s", least_s / copy_s);
        metrics.add("merge_s", "s", merge.seconds);
        metrics.add("cp_s", "s", copy_s);
        metrics.add("cp_synced_s", "s", synced_s);
        metrics.add("ratio", "merge_s / cp_s", merge.seconds / copy_s);
        if let Some(cpu_s) = merge.cpu_s {
            metrics.add("merge_cpu_s", "s", cpu_s);
        }
        if let Some(peak_mb) = merge.peak_mb {
            metrics.add("peak_mb", "MB", peak_mb);
        }
    }
    Ok(metrics)
}

/// A package that is measured in no time.
fn small(binary: &Path, folder: &Path) -> Result<PathBuf> {
    fresh(folder)?;
    let mut convert = smelt::convert(binary, &workspace_root().join("crates/sd-demo/sd-emoji"), folder);
    process::run(convert.args(["--component", "text-encoder", "--model-version", "small"]))?;
    Ok(folder.join("Stable_Diffusion_version_small_text_encoder.mlpackage"))
}

/// Multiplications and additions in f32 by all threads together.
fn peak_gflops(binary: &Path, package: &Path) -> Result<f64> {
    let mut command = Command::new(binary);
    command.arg("bench").arg(package).args(["--json", "--runs", "1"]);
    let (_, text) = process::output(&mut command)?;
    let report: Value = serde_json::from_str(&text)?;
    report["models"][0]["peak_gflops"].as_f64().context("smelt bench prints something else now")
}
