//! How long `smelt generate` takes for a picture of 512x512 at Stable Diffusion 1.5's shape: twenty guided steps, four steps
//! of a few-step model, and twenty steps with `--fast`, turn by turn.
//!
//! Weights are random, so pictures are none, and how near `--fast` comes says little of real models: `speed` measures that.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{
    ground,
    process::{self, fresh, warm},
    record::Metrics,
};
use crate::smelt::{self, Profile};

/// A way to draw.
struct Way {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// The first is what the others are measured against.
const WAYS: [Way; 3] = [
    Way { name: "picture20", arguments: &["--steps", "20", "--scheduler", "dpmpp-2m"] },
    Way { name: "picture4", arguments: &["--steps", "4", "--scheduler", "lcm", "--guidance", "1"] },
    Way { name: "picture_fast", arguments: &["--steps", "20", "--scheduler", "dpmpp-2m", "--fast"] },
];
const PROMPT: &str = "a lighthouse at dusk, oil painting";

/// How far two pictures are apart, as `smelt compare --json` says it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Distance {
    /// Null where they are the same.
    pub(super) psnr_db: Option<f64>,
    pub(super) ssim: Option<f64>,
    pub(super) ms_ssim: Option<f64>,
}

/// Measures so many turns.
pub(super) fn run(n_turns: usize) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let checkpoint = ground::sd15(&scratch)?;
    let packages = scratch.join("picture");
    convert(&binary, &checkpoint, &packages)?;
    let mut metrics = Metrics::default();
    for _ in 0..n_turns {
        let (mut seconds, mut processor) = (Vec::new(), Vec::new());
        for way in &WAYS {
            warm(&packages)?;
            let mut command = Command::new(&binary);
            command.args(["generate", PROMPT]).arg("--model").arg(&packages).args(way.arguments);
            let picture = picture_of(&scratch, way);
            fresh(&picture)?;
            let usage = process::run(command.arg("--output").arg(&picture))?;
            seconds.push(usage.seconds);
            processor.extend(usage.cpu_s);
        }
        for (way, taken) in WAYS.iter().zip(&seconds) {
            metrics.add(format!("{}_s", way.name), "s", *taken);
        }
        for (way, taken) in WAYS.iter().zip(&seconds).skip(1) {
            metrics.add(format!("{}_ratio", way.name), "of picture20_s", taken / seconds[0]);
        }
        for (way, taken) in WAYS.iter().zip(&processor) {
            metrics.add(format!("{}_cpu_s", way.name), "s of processor time", *taken);
            metrics.add(format!("{}_cpu_ratio", way.name), "of picture20_cpu_s", taken / processor[0]);
        }
        let apart = compare(&binary, &picture_of(&scratch, &WAYS[0]), &picture_of(&scratch, &WAYS[2]))?;
        metrics.add("picture_fast_db", "dB to picture20", apart.psnr_db.unwrap_or(f64::INFINITY));
    }
    let ways = WAYS.map(|way| format!("{}: {}", way.name, way.arguments.join(" ")));
    metrics.note(
        "note",
        format!(
            "smelt generate of packages (UNet of batch 2), 512x512, random weights, a process for each picture from start \
             to PNG; {}",
            ways.join("; ")
        ),
    );
    Ok(metrics)
}

fn picture_of(scratch: &Path, way: &Way) -> PathBuf {
    scratch.join(format!("{}.png", way.name))
}

/// Packages that are enough to draw.
pub(super) fn convert(binary: &Path, checkpoint: &Path, packages: &Path) -> Result<()> {
    fresh(packages)?;
    let mut convert = smelt::convert(binary, checkpoint, packages);
    convert.args(["--component", "text-encoder,unet,vae-decoder", "--model-version", "bench"]);
    process::run(&mut convert)?;
    Ok(())
}

/// `smelt compare` of two pictures.
pub(super) fn compare(binary: &Path, a: &Path, b: &Path) -> Result<Distance> {
    #[derive(Deserialize)]
    struct Compared {
        pictures: Vec<Picture>,
    }
    #[derive(Deserialize)]
    struct Picture {
        difference: Option<Distance>,
    }
    let mut command = Command::new(binary);
    let (_, printed) = process::output(command.arg("compare").arg(a).arg(b).arg("--json"))?;
    let compared: Compared = serde_json::from_str(&printed).context("smelt compare prints something else now")?;
    let [_, Picture { difference: Some(distance) }] = compared.pictures[..] else {
        return Err(anyhow::anyhow!("{} and {} cannot be compared", a.display(), b.display()));
    };
    ensure!(distance.ssim.is_some(), "{} is too small for SSIM", a.display());
    Ok(distance)
}
