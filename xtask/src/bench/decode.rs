//! What decoding a large picture takes, as a whole and by rows: time and memory of Stable Diffusion 1.5's VAE.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use safetensors::{Dtype, serialize, tensor::TensorView};
use testkit::{Rng, load_safetensors, psnr};

use super::{
    ground,
    process::{self, fresh, warm},
    record::Metrics,
};
use crate::smelt::{self, Profile};

/// A way to decode a picture that is so many pixels wide and high.
struct Way {
    name: &'static str,
    pixels: usize,
    /// What `--vae-memory` is given.
    memory: Option<&'static str>,
}

/// The first is what the others of its size are measured against.
const WAYS: [Way; 4] = [
    Way { name: "whole_1024", pixels: 1024, memory: None },
    Way { name: "rows_1024_2g", pixels: 1024, memory: Some("2G") },
    Way { name: "rows_1024_800m", pixels: 1024, memory: Some("800M") },
    Way { name: "rows_2048", pixels: 2048, memory: Some("1.3G") },
];

/// Measures so many turns.
pub(super) fn run(n_turns: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let checkpoint = ground::sd15(&scratch)?;
    let mut metrics = Metrics::default();
    for pixels in [1024, 2048] {
        prepare(&binary, &checkpoint, &scratch, pixels)?;
    }
    for _ in 0..n_turns {
        let mut whole = None;
        for way in &WAYS {
            let (usage, decoded) = decode(&binary, &scratch, way)?;
            metrics.add(format!("{}_s", way.name), "s", usage.seconds);
            if let Some(peak_mb) = usage.peak_mb {
                metrics.add(format!("{}_peak_mb", way.name), "MB", peak_mb);
            }
            let Some((seconds, image)) = &whole else {
                whole = Some((usage.seconds, decoded));
                continue;
            };
            if way.pixels == WAYS[0].pixels {
                metrics.add(format!("{}_ratio", way.name), "of whole_1024_s", usage.seconds / seconds);
                metrics.add(format!("{}_db", way.name), "dB to whole_1024", psnr(image, &decoded));
                let apart = image.iter().zip(&decoded).map(|(a, b)| (a - b).abs() * 127.5).fold(0.0, f32::max);
                metrics.add(format!("{}_grey_levels", way.name), "most apart, of 255", f64::from(apart));
            }
        }
    }
    metrics.note(
        "note",
        "smelt run of the VAE decoder's package in f16 on random latents, random weights, a process each; peak_mb: RssAnon + \
         RssShmem of /proc/PID/status every 2 ms, without mapped weights"
            .into(),
    );
    Ok(metrics)
}

fn place(scratch: &Path, pixels: usize) -> PathBuf {
    scratch.join(format!("decode{pixels}"))
}

/// A package for pictures of a size, and latents.
fn prepare(binary: &Path, checkpoint: &Path, scratch: &Path, pixels: usize) -> Result<()> {
    let (to, side) = (place(scratch, pixels), pixels / 8);
    fresh(&to)?;
    let mut convert = smelt::convert(binary, checkpoint, &to);
    convert.args(["--component", "vae-decoder", "--model-version", "bench", "--latent-size", &side.to_string()]);
    process::run(&mut convert)?;
    let bytes: Vec<u8> = Rng::new(7).normals(4 * side * side).iter().flat_map(|v| v.to_le_bytes()).collect();
    let z = TensorView::new(Dtype::F32, vec![1, 4, side, side], &bytes)?;
    fs::write(to.join("z.safetensors"), serialize(HashMap::from([("z", z)]), None)?)?;
    Ok(())
}

/// Decodes; also the picture.
fn decode(binary: &Path, scratch: &Path, way: &Way) -> Result<(process::Usage, Vec<f32>)> {
    let folder = place(scratch, way.pixels);
    let package = folder.join("Stable_Diffusion_version_bench_vae_decoder.mlpackage");
    warm(&package)?;
    let to = folder.join("image.safetensors");
    let mut command = Command::new(binary);
    command.arg("run").arg(package).arg("--inputs").arg(folder.join("z.safetensors")).arg("--outputs").arg(&to);
    command.args(way.memory.iter().flat_map(|memory| ["--vae-memory", memory]));
    let usage = process::run(&mut command)?;
    let image = load_safetensors(&to).remove("image").context("there is no image")?;
    Ok((usage, image.to_f32_vec()))
}
