//! Whole models: time, share of the peak, memory.

use std::{fs, hint::black_box, path::Path, time::Instant};

use anyhow::{Context, Result};

use super::ours::{Ours, Report};
use crate::bench::{process::Usage, record::Metrics};

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
/// The kernels of a step that take nearly all of its time.
const KERNELS: [&str; 3] = ["winograd", "product", "attention"];

/// A model and what its metrics are called.
#[derive(Debug)]
pub(super) struct Model {
    /// In names of metrics, and as peers know it.
    pub(super) name: &'static str,
    /// At the end of the package's name.
    component: &'static str,
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

/// A step of 512x512 with classifier-free guidance: batch 2.
pub(super) const UNET: Model =
    Model { name: "unet", component: "unet", time: "unet_f32_s", unit: Unit::Seconds, gflop: 1606.6, n_runs: 1 };
/// Latents of 64x64 to a picture of 512x512.
pub(super) const VAE: Model =
    Model { name: "vae", component: "vae_decoder", time: "vae_f32_s", unit: Unit::Seconds, gflop: 2514.0, n_runs: 1 };
/// One prompt of 77 tokens.
pub(super) const TEXT: Model = Model {
    name: "text",
    component: "text_encoder",
    time: "text_encoder_ms",
    unit: Unit::Milliseconds,
    gflop: 13.3,
    n_runs: 9,
};

/// Measures the model once; returns the seconds that it took.
pub(super) fn measure(ours: &Ours, model: &Model, metrics: &mut Metrics) -> Result<f64> {
    let package = ours.package(model.component);
    let of_6_bits = if model.name == UNET.name {
        let copy_s = copy(&package.join(WEIGHTS))?;
        let (usage, report) = bench(ours, &ours.unet_of_6_bits(), model)?;
        Some((copy_s, usage, report))
    } else {
        None
    };
    let (usage, report) = bench(ours, &package, model)?;
    let seconds = report.median_s;
    let name = model.name;
    metrics.add("f32_peak_gflops", "GFLOP/s", report.peak_gflops);
    metrics.add(model.time, model.unit.name(), model.unit.of(seconds));
    metrics.add(format!("{name}_f32_gflops"), "GFLOP/s", model.gflop / seconds);
    // Its own count has the small operations too.
    let share = report.share_of_peak * model.gflop / report.gflop;
    metrics.add(format!("{name}_share_of_peak"), "of the f32 peak", share);
    if let Some((copy_s, usage_6, report_6)) = of_6_bits {
        metrics.add("load_s", "s", report.load_s);
        metrics.add("load_ratio", "load_s / reading and copying weight.bin", report.load_s / copy_s);
        metrics.add("unet_6bit_s", "s", report_6.median_s);
        metrics.add("unet_6bit_ratio", "unet_6bit_s / unet_f32_s", report_6.median_s / seconds);
        for (name, usage, report) in [("peak_mb", usage, &report), ("peak_6bit_mb", usage_6, &report_6)] {
            // Pages of the mapped weights belong to the page cache, but a step needs all of them: they are added.
            if let Some(anonymous_mb) = usage.peak_mb {
                metrics.add(name, "MB", anonymous_mb + report.weight_bytes as f64 / 1e6);
            }
        }
        kernels(&report, metrics);
    }
    Ok(seconds)
}

fn bench(ours: &Ours, package: &Path, model: &Model) -> Result<(Usage, Report)> {
    let (usage, reports) = ours.bench(package, model.n_runs)?;
    Ok((usage, reports.into_iter().next().context("smelt bench reports nothing")?))
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
