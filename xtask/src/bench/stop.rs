//! How long a model goes on after it was asked to stop, at random moments of its run.
//!
//! The suite `stop` of `benches` measures; here its packages are made and its times become metrics.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    ground,
    process::{self, warm},
    record::Metrics,
};
use crate::smelt::{self, Profile};

/// Names of metrics, and the ends of the packages' names.
const MODELS: [(&str, &str); 3] = [("unet", "unet"), ("vae", "vae_decoder"), ("text", "text_encoder")];

/// What the suite prints.
#[derive(Debug, Deserialize)]
struct Measured {
    run_ms: f64,
    latencies_ms: Vec<f64>,
}

/// Stops each model at so many moments.
pub(super) fn run(n_moments: usize) -> Result<Metrics> {
    let packages = packages()?;
    let mut metrics = Metrics::default();
    for (name, component) in MODELS {
        let package = packages.join(format!("Stable_Diffusion_version_bench_{component}.mlpackage"));
        warm(&package)?;
        let mut command = smelt::cargo();
        command.args(["bench", "--quiet", "--package", "smelt-benches", "--bench", "stop", "--"]);
        let (_, printed) = process::output(command.arg(&package).arg(n_moments.to_string()))?;
        let measured: Measured = serde_json::from_str(&printed).context("the suite stop prints something else now")?;
        add(name, measured, &mut metrics);
    }
    let note = format!("{n_moments} random moments of each model's run, 512x512, UNet of batch 2");
    metrics.note("note", note);
    Ok(metrics)
}

/// The packages, made if need be: how they were made does not change how long an operation's items are.
fn packages() -> Result<PathBuf> {
    let scratch = ground::scratch()?;
    let packages = scratch.join("stop");
    if packages.is_dir() {
        return Ok(packages);
    }
    let checkpoint = ground::sd15(&scratch)?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let mut convert = smelt::convert(&binary, &checkpoint, &packages);
    process::run(convert.args(["--component", "text-encoder,unet,vae-decoder", "--model-version", "bench"]))?;
    Ok(packages)
}

fn add(name: &str, mut measured: Measured, metrics: &mut Metrics) {
    measured.latencies_ms.sort_by(f64::total_cmp);
    metrics.add(format!("{name}_run_ms"), "ms", measured.run_ms);
    metrics.add(format!("{name}_stop_p95_ms"), "ms", percentile_95(&measured.latencies_ms));
    for ms in measured.latencies_ms {
        metrics.add(format!("{name}_stop_ms"), "ms", ms);
    }
}

/// What 95 of 100 sorted samples do not exceed: the nearest rank.
fn percentile_95(sorted: &[f64]) -> f64 {
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_of_twenty_samples_are_at_most_the_95th_percentile() {
        let sorted: Vec<f64> = (1..=40).map(f64::from).collect();
        assert_eq!(percentile_95(&sorted), 38.0);
        assert_eq!(percentile_95(&sorted[..20]), 19.0);
        assert_eq!(percentile_95(&sorted[..1]), 1.0);
    }
}
