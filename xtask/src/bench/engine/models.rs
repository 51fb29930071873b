//! Whole models: time, share of the peak, memory.

use std::{fs, hint::black_box, path::Path, time::Instant};

use anyhow::{Context, Result};

use super::ours::{Ours, Report};
use crate::bench::{
    process::{Usage, warm},
    record::Metrics,
};

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
/// The kernels of a step that take nearly all of its time.
const KERNELS: [&str; 3] = ["winograd", "product", "attention"];

/// A model and what its metrics are called.
#[derive(Debug)]
pub(super) struct Model {
    /// In names of metrics, and as peers know it.
    pub(super) name: &'static str,
    /// At the end of the package's name.
    role: &'static str,
    /// Metric of its time.
    time: &'static str,
    /// Unit of its time.
    pub(super) unit: Unit,
    /// Work of one run, of convolutions in the direct form.
    gflop: f64,
    /// Runs of which a turn takes the median.
    pub(super) n_runs: usize,
}

/// Of times.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    /// As it stands in a record.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }

    /// So many of it are this time.
    pub(super) fn of(self, seconds: f64) -> f64 {
        match self {
            Self::Seconds => seconds,
            Self::Milliseconds => seconds * 1e3,
        }
    }
}

/// A step of 512x512 with classifier-free guidance, batch 2, whose text is that of the step before: its keys and values
/// are there, which peers compute again (5.9 GFLOP).
pub(super) const UNET: Model =
    Model { name: "unet", role: "unet", time: "unet_f32_s", unit: Unit::Seconds, gflop: 1600.7, n_runs: 1 };
/// Latents of 64x64 to a picture of 512x512.
pub(super) const VAE: Model =
    Model { name: "vae", role: "vae_decoder", time: "vae_f32_s", unit: Unit::Seconds, gflop: 2514.0, n_runs: 1 };
/// One prompt of 77 tokens.
pub(super) const TEXT: Model = Model {
    name: "text",
    role: "text_encoder",
    time: "text_encoder_ms",
    unit: Unit::Milliseconds,
    gflop: 13.3,
    n_runs: 9,
};

/// Measures the model once; returns the seconds that it took.
pub(super) fn measure(ours: &Ours, model: &Model, metrics: &mut Metrics) -> Result<f64> {
    if model.name == UNET.name {
        return unet(ours, metrics);
    }
    Ok(model.bench(ours, metrics)?.1.median_s)
}

/// The UNet has more to tell: loading, memory, weights of 6 bits, where its time goes.
fn unet(ours: &Ours, metrics: &mut Metrics) -> Result<f64> {
    let weights = ours.package(UNET.role).join(WEIGHTS);
    warm(&weights)?;
    let copy_s = copy(&weights)?;
    // First, so that nothing lies between a step in f16 and one of a peer.
    let (usage_6, report_6) = UNET.bench_package(ours, &ours.unet_of_6_bits(), metrics)?;
    let (usage, report) = UNET.bench(ours, metrics)?;
    metrics.add("load_s", "s", report.load_s);
    metrics.add("load_ratio", "load_s / reading and copying weight.bin", report.load_s / copy_s);
    metrics.add("unet_6bit_s", "s", report_6.median_s);
    metrics.add("unet_6bit_ratio", "unet_6bit_s / unet_f32_s", report_6.median_s / report.median_s);
    for (name, usage, report) in [("peak_mb", usage, &report), ("peak_6bit_mb", usage_6, &report_6)] {
        // Pages of the mapped weights belong to the page cache, but a step needs all of them: they are added.
        if let Some(anonymous_mb) = usage.peak_mb {
            metrics.add(name, "MB", anonymous_mb + report.weight_bytes as f64 / 1e6);
        }
    }
    kernels(&report, metrics);
    Ok(report.median_s)
}

/// A step for 768x768 between two for 512x512, turn by turn: what a FLOP of the larger costs.
pub(super) fn sizes(ours: &Ours, n_turns: usize, metrics: &mut Metrics) -> Result<()> {
    let (small, large) = (ours.package(UNET.role), ours.unet_of_768()?);
    let seconds_by_gflop = |package: &Path| -> Result<(f64, f64)> {
        warm(package)?;
        let report = ours.bench(package, UNET.n_runs)?.1.models.into_iter().next();
        let report = report.context("smelt bench reports nothing")?;
        Ok((report.median_s, report.median_s / report.gflop))
    };
    let mut before = seconds_by_gflop(&small)?.1;
    for _ in 0..n_turns {
        let (large_s, at_768) = seconds_by_gflop(&large)?;
        let after = seconds_by_gflop(&small)?.1;
        metrics.add("unet_768_s", "s", large_s);
        metrics.add("unet_768_over_512", "seconds by FLOP at 768 / at 512", 2.0 * at_768 / (before + after));
        before = after;
    }
    Ok(())
}

impl Model {
    /// Time and share of the peak, of its package in f16.
    fn bench(&self, ours: &Ours, metrics: &mut Metrics) -> Result<(Usage, Report)> {
        let (usage, report) = self.bench_package(ours, &ours.package(self.role), metrics)?;
        let name = self.name;
        metrics.add("f32_peak_gflops", "GFLOP/s", report.peak_gflops);
        metrics.add(self.time, self.unit.name(), self.unit.of(report.median_s));
        metrics.add(format!("{name}_f32_gflops"), "GFLOP/s", self.gflop / report.median_s);
        // Its own count has the small operations too.
        let share = report.share_of_peak * self.gflop / report.gflop;
        metrics.add(format!("{name}_share_of_peak"), "of the f32 peak", share);
        Ok((usage, report))
    }

    fn bench_package(&self, ours: &Ours, package: &Path, metrics: &mut Metrics) -> Result<(Usage, Report)> {
        // A peer may have needed the memory of the page cache.
        warm(package)?;
        let (usage, reports) = ours.bench(package, self.n_runs)?;
        metrics.note("isa", format!("{}, {} threads", reports.isa, reports.threads));
        Ok((usage, reports.models.into_iter().next().context("smelt bench reports nothing")?))
    }
}

/// Where a step's time goes.
fn kernels(report: &Report, metrics: &mut Metrics) {
    let mut rest_s = report.profile.iter().map(|step| step.seconds).sum::<f64>();
    for kernel in KERNELS {
        let steps = report.profile.iter().filter(|step| step.kernel == kernel);
        let (gflop, seconds) = steps.fold((0.0, 0.0), |sum, step| (sum.0 + step.gflop, sum.1 + step.seconds));
        rest_s -= seconds;
        metrics.add(format!("unet_{kernel}_s"), "s", seconds);
        metrics.add(format!("unet_{kernel}_share"), "of the f32 peak", gflop / seconds / report.peak_gflops);
    }
    metrics.add("unet_rest_s", "s", rest_s);
}

/// Seconds for reading a file from the page cache into memory of our own.
fn copy(path: &Path) -> Result<f64> {
    let start = Instant::now();
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    black_box(&bytes);
    Ok(start.elapsed().as_secs_f64())
}
