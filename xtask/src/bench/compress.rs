//! How long `smelt compress` takes for a UNet of real shape, measured against copying its weights and, on
//! request, against coremltools.
//!
//! All run turn by turn, each reading from a warm page cache, writing to the same disk, and beginning when that disk is
//! idle. `cp` does not wait for the disk and compression does, so that the time of `cp` with a following `sync` is
//! recorded as well.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{
    ground,
    peer::Peer,
    process::{self, Usage, fresh, warm},
    recipe,
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
pub(super) fn run(preset: PresetName, n_runs: usize, with_peers: bool) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let package = convert_unet(&binary, preset, &scratch)?;
    let recipe = scratch.join("recipe.json");
    let mean_bits = recipe::write(preset, &recipe)?;
    let mut peer = with_peers.then(|| Peer::start(&scratch, &package)).transpose()?;
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    for turn in 0..=n_runs {
        let turn_of = Turn::run(&binary, &package, &recipe, &scratch)?;
        if turn == 0 {
            continue;
        }
        turn_of.add_to(&mut metrics);
        metrics.add("recipe_mean_bits", "bits", mean_bits);
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
        "peak_mb: the largest of all modes; RssAnon + RssShmem of /proc/PID/status every 2 ms, without mapped files"
            .to_owned(),
    );
    Ok(metrics)
}

/// The package of the UNet, converted by this very binary.
pub(super) fn convert_unet(binary: &Path, preset: PresetName, scratch: &Path) -> Result<PathBuf> {
    let (checkpoint, packages) = (scratch.join(preset.name()), scratch.join("unet"));
    synth::ensure_checkpoint(preset, &checkpoint, 0)?;
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
    mixed: Usage,
}

impl Turn {
    fn run(binary: &Path, package: &Path, recipe: &Path, scratch: &Path) -> Result<Self> {
        let (copy, sync) = copy(package, scratch)?;
        let quantize = compress(binary, package, scratch, &QUANTIZE)?;
        let palettize = compress(binary, package, scratch, &PALETTIZE)?;
        let mixed = compress(binary, package, scratch, &[OsStr::new("--config"), recipe.as_os_str()])?;
        Ok(Self { copy, sync, quantize, palettize, mixed })
    }

    fn add_to(&self, metrics: &mut Metrics) {
        let Self { copy, sync, quantize, palettize, mixed } = self;
        metrics.add("palettize6_unet_s", "s", palettize.seconds);
        metrics.add("linear8_unet_s", "s", quantize.seconds);
        metrics.add("recipe_unet_s", "s", mixed.seconds);
        metrics.add("cp_s", "s", copy.seconds);
        metrics.add("cp_synced_s", "s", copy.seconds + sync.seconds);
        metrics.add("linear8_ratio", "linear8_unet_s / cp_s", quantize.seconds / copy.seconds);
        metrics.add("palettize6_ratio", "palettize6_unet_s / cp_s", palettize.seconds / copy.seconds);
        for (name, peak_mb) in [
            ("palettize6_peak_mb", palettize.peak_mb),
            ("linear8_peak_mb", quantize.peak_mb),
            ("recipe_peak_mb", mixed.peak_mb),
            ("peak_mb", self.peak_mb()),
        ] {
            if let Some(peak_mb) = peak_mb {
                metrics.add(name, "MB", peak_mb);
            }
        }
    }

    fn peak_mb(&self) -> Option<f64> {
        let modes = [&self.palettize, &self.quantize, &self.mixed];
        modes.into_iter().filter_map(|usage| usage.peak_mb).max_by(f64::total_cmp)
    }
}

/// `cp` of a package's weights, and the `sync` after it.
pub(super) fn copy(package: &Path, scratch: &Path) -> Result<(Usage, Usage)> {
    let copied = scratch.join("weight.bin");
    prepare(package, &copied)?;
    let copy = process::run(Command::new("cp").arg(package.join(WEIGHTS)).arg(&copied))?;
    let sync = process::run(&mut Command::new("sync"))?;
    fs::remove_file(&copied)?;
    Ok((copy, sync))
}

/// `smelt compress` with these choices; what it wrote is removed again.
fn compress(binary: &Path, package: &Path, scratch: &Path, choices: &[impl AsRef<OsStr>]) -> Result<Usage> {
    let output = scratch.join("compressed.mlpackage");
    prepare(package, &output)?;
    let usage = process::run(Command::new(binary).arg("compress").arg(package).arg("-o").arg(&output).args(choices))?;
    fs::remove_dir_all(&output).with_context(|| format!("compression left nothing at {}", output.display()))?;
    Ok(usage)
}

/// The package in the page cache, nothing at the output, and the disk idle.
pub(super) fn prepare(package: &Path, output: &Path) -> Result<()> {
    warm(package)?;
    fresh(output)
}
