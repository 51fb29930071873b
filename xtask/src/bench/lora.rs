//! How long `smelt convert` takes with many LoRAs for a UNet, measured against copying the same UNet.
//!
//! As `convert`: a warm page cache, the same disk, turn by turn; `cp` does not wait for the disk and conversion does.
//! Copied is the UNet alone, while a conversion reads the LoRAs too: a few files, each of them several times with another
//! weight, since the work is the same and a disk need not hold twenty.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    convert::copy,
    process::{self, fresh, warm},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    synth::{self, PresetName},
};

const N_LORAS: usize = 20;
const N_FILES: usize = 2;
const RANK: usize = 64;

/// Measures `n_runs` pairs after one warm-up pair.
pub(super) fn run(preset: PresetName, n_runs: usize) -> Result<Metrics> {
    let scratch = smelt::target_dir()?.join("bench");
    fs::create_dir_all(&scratch)?;
    let checkpoint = scratch.join(preset.name());
    synth::ensure_checkpoint(preset, &checkpoint, 0)?;
    let unet = checkpoint.join("unet");
    let loras: Vec<PathBuf> =
        (0..N_FILES).map(|i| scratch.join(format!("{}-lora-{i}.safetensors", preset.name()))).collect();
    for (seed, lora) in (1u64..).zip(&loras) {
        synth::ensure_lora(preset, lora, RANK, seed)?;
    }
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let mut metrics = Metrics::default();
    metrics.note("preset", preset.name());
    metrics.note("loras", format!("{N_LORAS} of rank {RANK}, from {N_FILES} files"));
    metrics.note("component", "unet".to_owned());
    let packages = scratch.join("packages");
    for turn in 0..=n_runs {
        warm(&unet)?;
        let (copy_s, synced_s) = copy(&unet, &scratch.join("copy"))?;
        loras.iter().try_for_each(|lora| warm(lora))?;
        fresh(&packages)?;
        let mut command = smelt::convert(&binary, &checkpoint, &packages);
        command.args(["--component", "unet"]);
        for (i, lora) in loras.iter().cycle().take(N_LORAS).enumerate() {
            let mut asked = lora.clone().into_os_string();
            asked.push(format!(":{}", 0.05 * (i + 1) as f32));
            command.arg("--lora").arg(asked);
        }
        let merge = process::run(&mut command)?;
        fs::remove_dir_all(&packages).with_context(|| format!("nothing came to {}", packages.display()))?;
        if turn == 0 {
            continue;
        }
        metrics.add("merge_s", "s", merge.seconds);
        metrics.add("cp_s", "s", copy_s);
        metrics.add("cp_synced_s", "s", synced_s);
        metrics.add("ratio", "merge_s / cp_s", merge.seconds / copy_s);
        if let Some(peak_mb) = merge.peak_mb {
            metrics.add("peak_mb", "MB", peak_mb);
        }
    }
    Ok(metrics)
}
