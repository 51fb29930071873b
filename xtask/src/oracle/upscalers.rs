//! Upscalers of the ESRGAN kind, run by PyTorch and by Smelt: as packages in two precisions, and on pictures, in one part and
//! in several.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use sd_runtime::image::RgbImage;
use serde::Deserialize;
use testkit::load_safetensors;

use super::{ask_diffusers, networks::worst_psnr, quietly};
use crate::smelt::{self, Profile};

const SCRIPT: &str = include_str!("upscalers.py");
/// The least PSNR of a package's results in f32 and in f16, in dB.
const LEAST_DB: [f64; 2] = [80.0, 55.0];
/// The largest difference of pictures, in grey levels: rounding may fall on either side.
const MOST_LEVELS: u8 = 1;
/// Parts and their context; a network of two blocks sees 36 pixels to each side.
const PARTS: [&str; 4] = ["--tile", "96", "--overlap", "40"];

/// What the script wrote.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    file: String,
    width: usize,
    height: usize,
    factor: usize,
}

/// Runs every case; fails if one is too far from PyTorch.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/upscalers");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let cases = write_cases(&place)?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let mut n_far = 0;
    println!("{:<28} {:>10} {:>10} {:>8} {:>8}", "", "float32", "float16", "picture", "parts");
    for case in &cases {
        let folder = place.join(&case.name);
        let found = Found::of(&binary, &folder, case).with_context(|| case.name.clone())?;
        n_far += usize::from(!found.is_near());
        let Found { packages: [single, half], pictures: [whole, parts] } = found;
        let far = if found.is_near() { "" } else { " TOO FAR" };
        println!("{:<28} {single:7.1} dB {half:7.1} dB {whole:8} {parts:8}{far}", case.name);
    }
    match n_far {
        0 => Ok(()),
        n => bail!("{n} upscalers are too far from PyTorch's"),
    }
}

fn write_cases(place: &Path) -> Result<Vec<Case>> {
    let lines = ask_diffusers(place, "upscalers.py", SCRIPT, &[place])?;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("upscalers.py said {line:?}")))
        .collect()
}

/// How far an upscaler is from PyTorch's.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// PSNR of the packages' results, in f32 and in f16.
    packages: [f64; 2],
    /// Largest difference of the pictures, in one part and in several.
    pictures: [u8; 2],
}

impl Found {
    fn of(binary: &Path, folder: &Path, case: &Case) -> Result<Self> {
        let package = |precision: &str| package(binary, folder, case, precision);
        let picture = |name: &str, options: &[&str]| picture(binary, folder, case, name, options);
        Ok(Self {
            packages: [package("float32")?, package("float16")?],
            pictures: [picture("whole.png", &[])?, picture("parts.png", &PARTS)?],
        })
    }

    fn is_near(&self) -> bool {
        self.packages.iter().zip(LEAST_DB).all(|(found, least)| *found >= least)
            && self.pictures.iter().all(|found| *found <= MOST_LEVELS)
    }
}

/// Converts a case's file, and runs the package on its picture.
fn package(binary: &Path, folder: &Path, case: &Case, precision: &str) -> Result<f64> {
    let packages = folder.join(precision);
    let mut convert = smelt::convert(binary, &folder.join(&case.file), &packages);
    convert.args(["--precision", precision, "--size"]).arg(format!("{}x{}", case.width, case.height));
    quietly(&mut convert)?;
    let (reference, results) = (folder.join("reference.safetensors"), packages.join("results.safetensors"));
    let mut run = Command::new(binary);
    run.arg("run").arg(packages.join("Upscaler_model.mlpackage"));
    quietly(run.arg("--inputs").arg(&reference).arg("--outputs").arg(&results))?;
    worst_psnr(&reference, &results)
}

/// Upscales a case's picture; the largest difference from what PyTorch's values are as bytes.
fn picture(binary: &Path, folder: &Path, case: &Case, name: &str, options: &[&str]) -> Result<u8> {
    let output = folder.join(name);
    let mut upscale = Command::new(binary);
    upscale.arg("upscale").arg(folder.join("picture.png")).arg("-m").arg(folder.join(&case.file));
    quietly(upscale.arg("-o").arg(&output).args(options))?;
    let drawn = RgbImage::read(std::io::BufReader::new(fs::File::open(&output)?))?;
    let [width, height] = [case.width, case.height].map(|side| side * case.factor);
    ensure!((drawn.width(), drawn.height()) == (width, height), "{} is of another size", output.display());
    let wanted = load_safetensors(folder.join("reference.safetensors"));
    let values = wanted.get("out.upscaled").context("no out.upscaled")?.to_f32_vec();
    let byte = |at: usize| (values[at].clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let n = width * height;
    let difference = |(at, own): (usize, &u8)| own.abs_diff(byte(at % 3 * n + at / 3));
    Ok(drawn.pixels().iter().enumerate().map(difference).max().unwrap_or_default())
}
