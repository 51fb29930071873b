//! Pictures resized, blurred and searched for edges as Pillow and OpenCV do it, and draws of NumPy, on random inputs.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use sd_runtime::{
    image::{Canny, Filter, Fit, RgbImage, Size},
    rng::{NumpyGenerator, NumpyRandom, RandomSource},
};
use serde_json::Value;

use crate::{
    python::{self, succeed},
    smelt,
};

const REQUIREMENTS: [&str; 3] = ["numpy==2.4.6", "pillow==13.0.0", "opencv-python-headless==5.0.0.93"];
const SCRIPT: &str = include_str!("pictures.py");

/// Fails if a byte differs.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle/pictures");
    let python = python::ensure_venv(&place.with_file_name("pictures-venv"), &REQUIREMENTS)?;
    fs::create_dir_all(&place)?;
    let (script, cases) = (place.join("pictures.py"), place.join("cases.bin"));
    fs::write(&script, SCRIPT)?;
    succeed(Command::new(&python).arg(&script).arg(&cases))?;
    let bytes = fs::read(&cases)?;
    let mut rest = bytes.as_slice();
    // By operation: cases, and those that differ.
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    while !rest.is_empty() {
        let (asked, given, want) = (part(&mut rest)?, part(&mut rest)?, part(&mut rest)?);
        let asked: Value = serde_json::from_slice(asked)?;
        let (n, n_wrong) = counts.entry(asked["op"].to_string()).or_default();
        *n += 1;
        if ours(&asked, given).with_context(|| asked.to_string())? != want {
            *n_wrong += 1;
            println!("not the same: {asked}");
        }
    }
    for (op, (n, n_wrong)) in &counts {
        println!("{op:<20} {n:5} cases, {n_wrong} differ");
    }
    match counts.values().map(|(_, n_wrong)| n_wrong).sum::<usize>() {
        0 => Ok(()),
        n => bail!("{n} cases differ"),
    }
}

/// The next part of a case, after its length.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>().context("the file of cases ends early")?;
    let length = u32::from_le_bytes(*length) as usize;
    ensure!(length <= after.len(), "the file of cases ends early");
    let (part, after) = after.split_at(length);
    *rest = after;
    Ok(part)
}

/// What we make of a case.
fn ours(asked: &Value, given: &[u8]) -> Result<Vec<u8>> {
    let number = |key: &str| asked[key].as_f64().with_context(|| format!("no {key}"));
    let count = |key: &str| number(key).map(|n| n as usize);
    let picture =
        || RgbImage::new(count("from_width")?, count("from_height")?, given.to_vec()).context("a bad picture");
    let size = || Ok::<_, anyhow::Error>(Size { width: count("width")?, height: count("height")? });
    let words: Vec<u32> = given.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let doubles = |values: Vec<f64>| values.into_iter().flat_map(f64::to_le_bytes).collect();
    Ok(match asked["op"].as_str().context("no op")? {
        "resize" => picture()?.resize(size()?, filter(&asked["filter"])?).pixels().to_vec(),
        "fill" => picture()?.fit(size()?, Fit::Fill, Filter::Lanczos).pixels().to_vec(),
        "crop" => picture()?.fit(size()?, Fit::Crop, Filter::Lanczos).pixels().to_vec(),
        "blur" => picture()?.blur(number("deviation")? as f32).pixels().to_vec(),
        "canny" => Canny::new(number("low")?, number("high")?)?.edges(&picture()?).pixels().to_vec(),
        "grey" => picture()?.to_grey().pixels().to_vec(),
        "RandomState" => doubles(NumpyRandom::from_words(&words).normals(count("n")?)),
        "default_rng" => doubles(NumpyGenerator::from_words(&words).normals(count("n")?)),
        "default_rng_f32" => {
            let values = NumpyGenerator::from_words(&words).single_normals(count("n")?);
            values.into_iter().flat_map(f32::to_le_bytes).collect()
        }
        other => bail!("nothing is known of {other}"),
    })
}

fn filter(name: &Value) -> Result<Filter> {
    let all = [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos];
    let is_it = |filter: &Filter| name.as_str().is_some_and(|name| format!("{filter:?}").eq_ignore_ascii_case(name));
    all.into_iter().find(is_it).with_context(|| format!("no filter {name}"))
}
