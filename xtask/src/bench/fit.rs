//! How long `smelt compress --fit` takes to choose schemes for a UNet of real shape and to write it, measured against copying
//! its weights.
//!
//! Both run turn by turn, as in `compress`. What is lost is estimated from the weights, so that each is read for all widths
//! first, and once more for the one that was chosen.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    compress::{convert_unet, copy, prepare},
    ground,
    process::{self, Usage},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::PresetName,
};

/// Part of the package that is to be left.
const PART: u64 = 4;
/// Limits are multiples of this.
const ROUND: u64 = 100_000_000;
/// Part of the limit that is to be used.
const USED: f64 = 0.99;

/// Measures `n_runs` turns after one warm-up turn.
pub(super) fn run(preset: PresetName, n_runs: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let package = convert_unet(&binary, preset, &scratch)?;
    let limit = (n_bytes(&package)? / PART).next_multiple_of(ROUND);
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    for turn in 0..=n_runs {
        let (copy, sync) = copy(&package, &scratch)?;
        let (fit, bytes) = fit(&binary, &package, limit, &scratch.join("fitted.mlpackage"))?;
        if turn == 0 {
            continue;
        }
        metrics.add("fit_s", "s", fit.seconds);
        metrics.add("cp_s", "s", copy.seconds);
        metrics.add("cp_synced_s", "s", copy.seconds + sync.seconds);
        metrics.add("ratio", "fit_s / cp_s", fit.seconds / copy.seconds);
        metrics.add("limit", "bytes", limit as f64);
        metrics.add("bytes", "bytes", bytes as f64);
        metrics.add("used", "bytes / limit", bytes as f64 / limit as f64);
        if let Some(peak_mb) = fit.peak_mb {
            metrics.add("peak_mb", "MB", peak_mb);
        }
    }
    Ok(metrics)
}

/// `smelt compress --fit`, and the bytes of all that it wrote, which is removed again.
fn fit(binary: &Path, package: &Path, limit: u64, to: &Path) -> Result<(Usage, u64)> {
    prepare(package, to)?;
    let command = &mut Command::new(binary);
    let usage =
        process::run(command.arg("compress").arg(package).arg("-o").arg(to).args(["--fit", &limit.to_string()]))?;
    let bytes = n_bytes(to)?;
    ensure!(bytes <= limit, "{bytes} bytes do not fit into {limit}");
    ensure!(bytes as f64 >= USED * limit as f64, "{bytes} bytes leave more than a hundredth of {limit} unused");
    fs::remove_dir_all(to).with_context(|| format!("nothing is left at {}", to.display()))?;
    Ok((usage, bytes))
}

/// Bytes of all files below a folder.
fn n_bytes(path: &Path) -> Result<u64> {
    if path.is_dir() {
        return fs::read_dir(path)?.map(|entry| n_bytes(&entry?.path())).sum();
    }
    Ok(path.metadata()?.len())
}
