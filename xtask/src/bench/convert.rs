//! How long `smelt convert` takes, measured against copying the same checkpoint.
//!
//! Both read from a warm page cache and write to the same disk, turn by turn, each into a folder of its own that is
//! removed afterwards. Before each turn the disk is idle. `cp` does not wait for the disk and conversion does, so that
//! the time of `cp` with a following `sync` is recorded as well.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use sd_spec::Role;

use super::{
    ground,
    process::{self, fresh, warm},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::{self, PresetName},
};

/// Measures `n_runs` pairs after one warm-up pair.
///
/// Of the components only, if any are named: nothing else is written, copied or converted.
pub(super) fn run(preset: PresetName, components: &[Role], n_runs: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let names: Vec<&str> = components.iter().map(|role| role.name()).collect();
    let checkpoint = scratch.join([&[preset.name().as_str()], &names[..]].concat().join("-"));
    synth::ensure_components(preset, components, &checkpoint, 0)?;
    let mut choices: Vec<String> = preset.convert_arguments().iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        choices.extend(["--component".to_owned(), names.join(",")]);
    }
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    warm(&checkpoint)?;
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    if !names.is_empty() {
        metrics.note("components", names.join(","));
    }
    for turn in 0..=n_runs {
        let (copy_s, synced_s) = copy(&checkpoint, &scratch.join("copy"))?;
        let convert = convert(&binary, &checkpoint, &scratch.join("packages"), &choices)?;
        if turn == 0 {
            continue;
        }
        metrics.add("convert_s", "s", convert.seconds);
        metrics.add("cp_s", "s", copy_s);
        metrics.add("cp_synced_s", "s", synced_s);
        metrics.add("ratio", "convert_s / cp_s", convert.seconds / copy_s);
        if let Some(peak_mb) = convert.peak_mb {
            metrics.add("peak_mb", "MB", peak_mb);
        }
    }
    Ok(metrics)
}

/// Seconds of `cp -r`, and of `cp -r` and the `sync` after it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(f64, f64)> {
    fresh(to)?;
    let copy = process::run(Command::new("cp").arg("-r").arg(from).arg(to))?;
    let sync = process::run(&mut Command::new("sync"))?;
    fs::remove_dir_all(to)?;
    Ok((copy.seconds, copy.seconds + sync.seconds))
}

fn convert(binary: &Path, checkpoint: &Path, to: &Path, choices: &[String]) -> Result<process::Usage> {
    fresh(to)?;
    let usage = process::run(smelt::convert(binary, checkpoint, to).args(choices))?;
    fs::remove_dir_all(to).with_context(|| format!("conversion left nothing at {}", to.display()))?;
    Ok(usage)
}
