//! Pictures that a TAESD decodes, in every form in which people have one, drawn by diffusers and by `smelt generate`.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, tensor::TensorView};
use sd_runtime::image::RgbImage;
use serde::Deserialize;
use testkit::{load_safetensors, psnr};

use super::{ask_diffusers, packages_in, quietly};
use crate::smelt::{self, Profile};

const SCRIPT: &str = include_str!("decoders.py");
/// The least PSNR of latents, and of what is decoded from the same ones, in dB.
const LEAST_DB: f64 = 80.0;
/// How far a byte of the picture may be off: another one is rounded to where the planes' last digits decide.
const LEVELS: u8 = 1;

/// What the script drew and wrote.
#[derive(Debug, Deserialize)]
struct Case {
    model: String,
    form: String,
    taesd: PathBuf,
    /// Whether it has both halves.
    is_whole: bool,
    checkpoint: PathBuf,
    typed: Vec<String>,
}

/// How near we come to diffusers.
struct Found {
    latents_db: f64,
    planes_db: f64,
    levels: u8,
}

/// Draws every case in f32; fails if one is too far from diffusers.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/decoders");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let checkpoints = testkit::golden_path().join("checkpoints");
    ensure!(checkpoints.is_dir(), "no golden data at {}", checkpoints.display());
    let lines = ask_diffusers(&place, "decoders.py", SCRIPT, &[&place, &testkit::demo(), &checkpoints])?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let mut n_below = 0;
    for line in lines.lines() {
        let case: Case = serde_json::from_str(line).with_context(|| format!("decoders.py said {line:?}"))?;
        let name = format!("{} {}", case.model, case.form);
        let Found { latents_db, planes_db, levels } =
            compare(&binary, &place.join(&case.model), &case).with_context(|| name.clone())?;
        // NaN is below everything.
        let is_fine = latents_db >= LEAST_DB && planes_db >= LEAST_DB && levels <= LEVELS;
        n_below += usize::from(!is_fine);
        let verdict = if is_fine { "" } else { " TOO FAR" };
        println!(
            "{name:<28} latents {latents_db:6.1} dB, planes {planes_db:6.1} dB, bytes off by {levels} at most{verdict}"
        );
    }
    match n_below {
        0 => Ok(()),
        n => bail!("{n} pictures are too far from diffusers'"),
    }
}

fn compare(binary: &Path, folder: &Path, case: &Case) -> Result<Found> {
    let reference = load_safetensors(folder.join("reference.safetensors"));
    let wanted = |name: &str| reference.get(name).with_context(|| format!("the reference has no {name}"));
    let (latents, drawn) = (folder.join("latents.safetensors"), folder.join("drawn.png"));
    let mut command = Command::new(binary);
    command.arg("generate").args(&case.typed).arg("--taesd").arg(&case.taesd).args(["--precision", "float32"]);
    quietly(command.arg("-o").arg(&drawn).arg("--latents").arg(&latents))?;
    let own = load_safetensors(&latents).remove("latents").context("no latents")?;
    let picture = RgbImage::read(BufReader::new(fs::File::open(&drawn)?))?;
    let bytes = wanted("picture")?;
    ensure!(bytes.shape() == [picture.height(), picture.width(), 3], "a picture of {:?}", bytes.shape());
    let levels = bytes.bytes().iter().zip(picture.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
    Ok(Found {
        latents_db: psnr(&wanted("latents")?.to_f32_vec(), &own.to_f32_vec()),
        planes_db: planes(binary, folder, case)?,
        levels: levels.context("an empty picture")?,
    })
}

/// PSNR of what the converted decoder makes of diffusers' latents.
fn planes(binary: &Path, folder: &Path, case: &Case) -> Result<f64> {
    let reference = load_safetensors(folder.join("reference.safetensors"));
    let (packages, inputs, outputs) =
        (folder.join("packages"), folder.join("inputs.safetensors"), folder.join("outputs.safetensors"));
    if packages.exists() {
        fs::remove_dir_all(&packages)?;
    }
    let z = &reference["latents"];
    let &[_, _, height, width] = z.shape() else { bail!("latents {:?}", z.shape()) };
    let size = format!("{height}x{width}");
    // A decoder without its encoder is converted by itself, and a whole one takes a checkpoint's.
    let mut command = match case.is_whole {
        true => smelt::convert(binary, &case.checkpoint, &packages),
        false => smelt::convert(binary, &case.taesd, &packages),
    };
    if case.is_whole {
        command.arg("--vae").arg(&case.taesd);
    }
    quietly(command.args(["--component", "vae-decoder", "--precision", "float32", "--latent-size", &size]))?;
    let view = TensorView::new(Dtype::F32, z.shape().to_vec(), z.bytes())?;
    safetensors::serialize_to_file([("z", view)], None, &inputs)?;
    let found = packages_in(&packages)?;
    let [package] = &found[..] else { bail!("{} packages in {}", found.len(), packages.display()) };
    let mut run = Command::new(binary);
    quietly(run.arg("run").arg(package).arg("--inputs").arg(&inputs).arg("--outputs").arg(&outputs))?;
    let image = load_safetensors(&outputs).remove("image").context("no image")?;
    Ok(psnr(&reference["decoded"].to_f32_vec(), &image.to_f32_vec()))
}
