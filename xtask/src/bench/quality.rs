//! What mixed bits, and calibrated codes, gain on pictures of the model in the box.
//!
//! The suite `quality` of `benches` measures, with the library; here its pictures become metrics.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    ground,
    process::{self, fresh},
    record::Metrics,
};
use crate::smelt;

/// Pictures of one way to store the UNet.
#[derive(Debug, Deserialize)]
struct Pictures {
    bits: f64,
    /// None for a picture that is the same.
    db: Vec<Option<f64>>,
}

/// What is told as a difference: its name, which way gains, and over which.
const GAINS: [(&str, &str, &str); 6] = [
    ("mean_4_gain_db", "mean_4", "uniform_4"),
    ("at_reference_gain_db", "mean_at_reference", "reference"),
    ("its_widths_gain_db", "its_widths_at_reference", "reference"),
    ("mean_2_5_gain_db", "mean_2_5", "uniform_2"),
    ("uniform_4_calibrated_gain_db", "uniform_4_calibrated", "uniform_4"),
    ("mean_4_calibrated_gain_db", "mean_4_calibrated", "mean_4"),
];

/// Draws with every way once: the same pictures come of it each time.
pub(super) fn run() -> Result<Metrics> {
    let folder = ground::scratch()?.join("quality");
    fresh(&folder)?;
    fs::create_dir_all(&folder)?;
    let mut command = smelt::cargo();
    command.args(["bench", "--quiet", "--package", "smelt-benches", "--bench", "quality", "--"]);
    let (_, printed) = process::output(command.arg(&folder))?;
    let last = printed.lines().last().unwrap_or_default();
    let ways: BTreeMap<String, Pictures> =
        serde_json::from_str(last).context("the suite quality prints something else now")?;
    metrics(&ways)
}

fn metrics(ways: &BTreeMap<String, Pictures>) -> Result<Metrics> {
    let mut metrics = Metrics::default();
    for (name, Pictures { bits, db }) in ways {
        metrics.add(format!("{name}_bits"), "bits a weight", *bits);
        metrics.add(format!("{name}_db"), "dB, mean of the pictures", mean(db)?);
        let least = db.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        metrics.add(format!("{name}_least_db"), "dB, the worst picture", least);
    }
    for (name, ours, theirs) in GAINS {
        let of = |way: &str| mean(&ways.get(way).with_context(|| format!("the suite did not draw {way}"))?.db);
        metrics.add(name, "dB", of(ours)? - of(theirs)?);
    }
    metrics.note(
        "note",
        "model in the box, 20 names and seeds, 20 steps, guidance 4, PSNR of pixels against packages in half precision; \
         analysis of 16 samples with 4 bits measured, 64 samples to calibrate with; reference: Apple's mixed-bit analysis made \
         again, the threshold whose mean of bits is next below 4, beside the best assignment of as many bytes with all \
         widths and with its own"
            .into(),
    );
    Ok(metrics)
}

/// The mean; pictures that are the same have no ratio, and must not occur.
fn mean(db: &[Option<f64>]) -> Result<f64> {
    let all: Option<Vec<f64>> = db.iter().copied().collect();
    let all = all.filter(|all| !all.is_empty()).context("a picture is the same as in half precision")?;
    Ok(all.iter().sum::<f64>() / all.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn gains_are_differences_of_means() {
        let pictures = |db: f64| Pictures { bits: 4.0, db: vec![Some(db - 1.0), Some(db + 1.0)] };
        let names: BTreeSet<&str> = GAINS.iter().flat_map(|&(_, ours, theirs)| [ours, theirs]).collect();
        let ways: BTreeMap<_, _> =
            names.into_iter().zip(30..).map(|(name, db)| (name.to_owned(), pictures(db.into()))).collect();
        let metrics = metrics(&ways).expect("every way is there");
        let db = |name: &str| metrics.median(&format!("{name}_db")).expect("it was drawn");
        assert_eq!(metrics.median("mean_4_gain_db"), Some(db("mean_4") - db("uniform_4")));
        assert_eq!(metrics.median("uniform_2_least_db"), Some(db("uniform_2") - 1.0));
        assert!(mean(&[Some(1.0), None]).is_err() && mean(&[]).is_err());
    }
}
