//! How long `smelt compress` takes for the UNet of Stable Diffusion 1.5, measured against copying its weights and, on
//! request, against coremltools.
//!
//! All run turn by turn, each reading from a warm page cache, writing to the same disk, and beginning when that disk is
//! idle. `cp` does not wait for the disk and compression does, so that the time of `cp` with a following `sync` is
//! recorded as well.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{
    peer::Peer,
    process::{self, Usage, fresh, warm},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::{self, PresetName},
};

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
const PALETTIZE: [&str; 4] = ["--mode", "kmeans", "--bits", "6"];
const QUANTIZE: [&str; 4] = ["--mode", "linear", "--dtype", "int8"];

/// Measures `n_runs` turns after one warm-up turn.
pub(super) fn run(n_runs: usize, with_peers: bool) -> Result<Metrics> {
    let scratch = smelt::target_dir()?.join("bench");
    fs::create_dir_all(&scratch)?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let package = convert_unet(&binary, &scratch)?;
    let mut peer = with_peers.then(|| Peer::start(&scratch, &package)).transpose()?;
    let mut metrics = Metrics::default();
    for turn in 0..=n_runs {
        let turn_of = Turn::run(&binary, &package, &scratch)?;
        if turn == 0 {
            continue;
        }
        turn_of.add_to(&mut metrics);
        if let Some(peer) = &mut peer {
            let peer_s = peer.measure()?;
            metrics.add("peer_coremltools_s", "s, extrapolated", peer_s);
            metrics.add("peer_ratio", "peer_coremltools_s / palettize6_unet_s", peer_s / turn_of.palettize.seconds);
            metrics.add("peer_sampled_elements", "weights", peer.n_sampled() as f64);
            metrics.add("peer_elements", "weights", peer.n_elements() as f64);
            metrics.note("peer_note", peer.note());
        }
    }
    metrics.note(
        "peak_note",
        "peak_mb: the larger of both modes; RssAnon + RssShmem of /proc/PID/status every 2 ms, without mapped files"
            .to_owned(),
    );
    Ok(metrics)
}

/// The package of the UNet, converted by this very binary.
fn convert_unet(binary: &Path, scratch: &Path) -> Result<PathBuf> {
    let (checkpoint, packages) = (scratch.join("sd15"), scratch.join("unet"));
    synth::ensure_checkpoint(PresetName::Sd15, &checkpoint, 0)?;
    fresh(&packages)?;
    process::run(smelt::convert(binary, &checkpoint, &packages).args(["--component", "unet"]))?;
    let found: Vec<PathBuf> = fs::read_dir(&packages)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "mlpackage"))
        .collect();
    ensure!(found.len() == 1, "conversion left {} packages in {}", found.len(), packages.display());
    found.into_iter().next().context("invariant: one package")
}

/// One run of each.
#[derive(Debug)]
struct Turn {
    copy: Usage,
    sync: Usage,
    quantize: Usage,
    palettize: Usage,
}

impl Turn {
    fn run(binary: &Path, package: &Path, scratch: &Path) -> Result<Self> {
        let copied = scratch.join("weight.bin");
        prepare(package, &copied)?;
        let copy = process::run(Command::new("cp").arg(package.join(WEIGHTS)).arg(&copied))?;
        let sync = process::run(&mut Command::new("sync"))?;
        fs::remove_file(&copied)?;
        let quantize = compress(binary, package, scratch, &QUANTIZE)?;
        let palettize = compress(binary, package, scratch, &PALETTIZE)?;
        Ok(Self { copy, sync, quantize, palettize })
    }

    fn add_to(&self, metrics: &mut Metrics) {
        let Self { copy, sync, quantize, palettize } = self;
        metrics.add("palettize6_unet_s", "s", palettize.seconds);
        metrics.add("linear8_unet_s", "s", quantize.seconds);
        metrics.add("cp_s", "s", copy.seconds);
        metrics.add("cp_synced_s", "s", copy.seconds + sync.seconds);
        metrics.add("linear8_ratio", "linear8_unet_s / cp_s", quantize.seconds / copy.seconds);
        metrics.add("palettize6_ratio", "palettize6_unet_s / cp_s", palettize.seconds / copy.seconds);
        for (name, peak_mb) in [
            ("palettize6_peak_mb", palettize.peak_mb),
            ("linear8_peak_mb", quantize.peak_mb),
            ("peak_mb", self.peak_mb()),
        ] {
            if let Some(peak_mb) = peak_mb {
                metrics.add(name, "MB", peak_mb);
            }
        }
    }

    fn peak_mb(&self) -> Option<f64> {
        self.palettize.peak_mb.into_iter().chain(self.quantize.peak_mb).max_by(f64::total_cmp)
    }
}

/// `smelt compress` with these choices; what it wrote is removed again.
fn compress(binary: &Path, package: &Path, scratch: &Path, choices: &[&str]) -> Result<Usage> {
    let output = scratch.join("compressed.mlpackage");
    prepare(package, &output)?;
    let usage = process::run(Command::new(binary).arg("compress").arg(package).arg("-o").arg(&output).args(choices))?;
    fs::remove_dir_all(&output).with_context(|| format!("compression left nothing at {}", output.display()))?;
    Ok(usage)
}

/// The package in the page cache, nothing at the output, and the disk idle.
fn prepare(package: &Path, output: &Path) -> Result<()> {
    warm(package)?;
    fresh(output)
}
