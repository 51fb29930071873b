//! How long `smelt analyse` takes with a UNet of real shape, measured against one step of that UNet in f32.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    compress::convert_unet,
    ground,
    process::{self, warm},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::PresetName,
};

/// What is looked at.
const SCHEMES: [&str; 2] = ["--schemes", "2,4,6,8"];
/// A few of the weights, which two shards look at and one run.
const FEW: [&str; 2] = ["--only", "*mid_block*"];

/// Analyses once; steps are timed before and after.
pub(super) fn run() -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let package = convert_unet(&binary, PresetName::Sd15, &scratch)?;
    let mut metrics = Metrics::default();
    metrics.note("preset", PresetName::Sd15.name());
    warm(&package)?;
    let before = step(&binary, &package)?;
    let whole = scratch.join("analysis.json");
    let usage = process::run(analyse(&binary, &package, &whole)?.args(SCHEMES))?;
    let after = step(&binary, &package)?;
    let unet_f32_s = f64::midpoint(before, after);
    metrics.add("analyse_s", "s", usage.seconds);
    metrics.add("unet_f32_s", "s, a step of both samples, before and after", unet_f32_s);
    metrics.add("ratio", "analyse_s / unet_f32_s", usage.seconds / unet_f32_s);
    if let Some(peak_mb) = usage.peak_mb {
        metrics.add("peak_mb", "MB", peak_mb);
    }
    check_shards(&binary, &package, &scratch)?;
    metrics.note(
        "note",
        "widths 2, 4, 6, 8 of all weights, 4 measured at the output, one batch of two samples; peak_mb: RssAnon + RssShmem of \
         /proc/PID/status every 2 ms, without mapped weights; two shards of the weights of mid_block, put together, had \
         the bytes of one run"
            .into(),
    );
    Ok(metrics)
}

/// Seconds of a step.
fn step(binary: &Path, package: &Path) -> Result<f64> {
    let (_, text) = process::output(Command::new(binary).arg("bench").arg(package).args(["--runs", "3", "--json"]))?;
    let found: Value = serde_json::from_str(&text)?;
    found
        .pointer("/models/0/median_s")
        .and_then(Value::as_f64)
        .with_context(|| format!("smelt bench told no median: {text}"))
}

fn analyse(binary: &Path, package: &Path, to: &Path) -> Result<Command> {
    for old in [to.to_path_buf(), to.with_extension("json.incomplete")].iter().filter(|path| path.exists()) {
        fs::remove_file(old)?;
    }
    let mut command = Command::new(binary);
    command.arg("analyse").arg(package).arg("-o").arg(to);
    Ok(command)
}

/// Two shards of a few weights, put together, are what one run writes.
fn check_shards(binary: &Path, package: &Path, scratch: &Path) -> Result<()> {
    let place = |name: &str| scratch.join(format!("analysis-{name}.json"));
    process::run(analyse(binary, package, &place("few"))?.args(SCHEMES).args(FEW))?;
    for shard in ["1", "2"] {
        let mut command = analyse(binary, package, &place(shard))?;
        process::run(command.args(SCHEMES).args(FEW).args(["--shard", &format!("{shard}/2")]))?;
    }
    let mut merge = Command::new(binary);
    merge.arg("analyse").arg("--merge").arg(place("2")).arg(place("1")).arg("-o").arg(place("merged")).arg("--force");
    process::run(&mut merge)?;
    ensure!(fs::read(place("few"))? == fs::read(place("merged"))?, "the shards put together are not the whole");
    Ok(())
}
