//! How long `smelt chunk` takes to cut a UNet of real shape in two, measured against copying its weights.
//!
//! Both run turn by turn, as in `compress`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

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

/// Measures `n_runs` turns after one warm-up turn.
pub(super) fn run(preset: PresetName, n_runs: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let package = convert_unet(&binary, preset, &scratch)?;
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    for turn in 0..=n_runs {
        let (copy, sync) = copy(&package, &scratch)?;
        let chunk = chunk(&binary, &package, &scratch.join("chunks"))?;
        if turn == 0 {
            continue;
        }
        metrics.add("chunk_s", "s", chunk.seconds);
        metrics.add("cp_s", "s", copy.seconds);
        metrics.add("cp_synced_s", "s", copy.seconds + sync.seconds);
        metrics.add("ratio", "chunk_s / cp_s", chunk.seconds / copy.seconds);
        if let Some(peak_mb) = chunk.peak_mb {
            metrics.add("peak_mb", "MB", peak_mb);
        }
    }
    Ok(metrics)
}

/// `smelt chunk`; what it wrote is removed again.
fn chunk(binary: &Path, package: &Path, to: &Path) -> Result<Usage> {
    prepare(package, to)?;
    let usage = process::run(Command::new(binary).arg("chunk").arg(package).arg("-o").arg(to))?;
    fs::remove_dir_all(to).with_context(|| format!("nothing is left at {}", to.display()))?;
    Ok(usage)
}
