//! What a newcomer waits for: the release build of `smelt` from an empty target folder, without a compiler cache.
//!
//! Crates must have been downloaded before; `cargo fetch` sees to that.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};

use super::record::Metrics;
use crate::smelt::{self, Profile};

/// Builds `n_runs` times. There is no warm-up: a newcomer has none.
pub(super) fn run(n_runs: usize) -> Result<Metrics> {
    ensure!(smelt::cargo().arg("fetch").status()?.success(), "cargo fetch failed");
    let target = smelt::target_dir()?.join("bench/build");
    let mut metrics = Metrics::default();
    for _ in 0..n_runs.max(1) {
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let start = Instant::now();
        let built = smelt::build(Profile::Release, |cargo| {
            cargo.arg("--target-dir").arg(&target).env("CARGO_INCREMENTAL", "0").env("RUSTC_WRAPPER", "");
        })?;
        metrics.add("release_build_s", "s", start.elapsed().as_secs_f64());
        let bytes = fs::metadata(&built.binary).context("no binary")?.len();
        metrics.add("binary_mb", "MB", bytes as f64 / 1e6);
        metrics.add("crates", "packages", built.n_crates as f64);
    }
    fs::remove_dir_all(&target)?;
    Ok(metrics)
}
