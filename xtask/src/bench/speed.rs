//! What the ways to draw faster cost in likeness: time, PSNR, SSIM and MS-SSIM to the full run, over twenty seeds of the
//! model in the box. The table goes to `docs/speed.md` too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    picture::{Distance, compare, convert},
    process::{self, fresh},
    record::Metrics,
};
use crate::{
    smelt::{self, Profile},
    workspace_root,
};

/// A way to draw.
struct Way {
    /// Begins the names of its metrics.
    name: &'static str,
    /// What the table calls it.
    label: &'static str,
    arguments: &'static [&'static str],
}

/// The first is what the others are compared with.
const WAYS: [Way; 9] = [
    Way { name: "full", label: "20 steps, guided throughout", arguments: &["--steps", "20"] },
    Way { name: "interval_80", label: "guidance in the first 80 %", arguments: &["--guidance-interval", ":0.8"] },
    Way { name: "interval_65", label: "guidance in the first 65 %", arguments: &["--guidance-interval", ":0.65"] },
    Way { name: "interval_late", label: "guidance in the last 80 %", arguments: &["--guidance-interval", "0.2:"] },
    Way {
        name: "interval_middle",
        label: "guidance in the middle, 20 to 80 %",
        arguments: &["--guidance-interval", "0.2:0.8"],
    },
    Way { name: "spectrum", label: "forecasts, Spectrum's numbers", arguments: &["--forecast", "spectrum"] },
    Way { name: "line", label: "forecasts along the line", arguments: &["--forecast", "line"] },
    Way { name: "fast", label: "`--fast`", arguments: &["--fast"] },
    Way { name: "half", label: "10 steps in place of 20", arguments: &["--steps", "10"] },
];
/// Schedulers that all ways are tried with.
const SCHEDULERS: [&str; 2] = ["dpmpp-2m", "pndm"];
const N_SEEDS: usize = 20;
/// Names of emoji, which the model in the box draws.
const PROMPTS: [&str; 10] = [
    "red heart",
    "grinning face",
    "green apple",
    "cat face",
    "house",
    "sun",
    "soccer ball",
    "blue car",
    "pizza",
    "yellow flower",
];
/// Lines of the page around the table.
const BEGIN: &str = "<!-- cargo xtask bench speed -->";
const END: &str = "<!-- end -->";

/// What `smelt generate --json` says of time.
#[derive(Debug, Deserialize)]
struct Drawn {
    load_s: f64,
    seconds: f64,
}

/// A row of the table.
struct Row {
    label: &'static str,
    scheduler: &'static str,
    seconds: Vec<f64>,
    apart: Vec<Distance>,
}

/// Draws, compares, and writes the table.
pub(super) fn run() -> Result<Metrics> {
    let scratch = smelt::target_dir()?.join("bench/speed");
    fs::create_dir_all(&scratch)?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let packages = scratch.join("packages");
    convert(&binary, &workspace_root().join("crates/sd-demo/sd-emoji"), &packages)?;
    let mut metrics = Metrics::default();
    let mut rows = Vec::new();
    for scheduler in SCHEDULERS {
        rows.extend(measure(&binary, &packages, &scratch, scheduler)?);
        // Each takes minutes: what is there already is worth keeping.
        write(&rows)?;
    }
    for (way, row) in WAYS.iter().cycle().zip(&rows) {
        let name = format!("{}_{}", row.scheduler, way.name).replace('-', "_");
        row.seconds.iter().for_each(|&seconds| metrics.add(format!("{name}_s"), "s of processor time", seconds));
        for apart in &row.apart {
            // Pictures that are the same are left out of a mean of decibels.
            if let Some(db) = apart.psnr_db {
                metrics.add(format!("{name}_db"), "dB", db);
            }
            metrics.add(format!("{name}_ssim"), "1", apart.ssim.unwrap_or(f64::NAN));
            metrics.add(format!("{name}_ms_ssim"), "1", apart.ms_ssim.unwrap_or(f64::NAN));
        }
    }
    metrics.note("note", format!("model in the box, {N_SEEDS} seeds, packages in f16; compared with the full run"));
    Ok(metrics)
}

/// All ways with one scheduler, seed by seed.
fn measure(binary: &Path, packages: &Path, scratch: &Path, scheduler: &'static str) -> Result<Vec<Row>> {
    let row = |way: &Way| Row { label: way.label, scheduler, seconds: Vec::new(), apart: Vec::new() };
    let mut rows: Vec<Row> = WAYS.iter().map(row).collect();
    for seed in 0..N_SEEDS {
        let pictures: Vec<PathBuf> = WAYS.iter().map(|way| scratch.join(format!("{}.png", way.name))).collect();
        for ((way, picture), row) in WAYS.iter().zip(&pictures).zip(&mut rows) {
            fresh(picture)?;
            let mut command = Command::new(binary);
            command.args(["generate", PROMPTS[seed % PROMPTS.len()], "--json", "--scheduler", scheduler]);
            command.args(["--seed", &seed.to_string(), "--guidance", "4"]).args(way.arguments);
            command.arg("--model").arg(packages).arg("--output").arg(picture);
            let (usage, printed) = process::output(&mut command)?;
            let last = printed.lines().last().unwrap_or_default();
            let drawn: Drawn = serde_json::from_str(last).context("smelt generate prints something else now")?;
            row.seconds.push(usage.cpu_s.unwrap_or(drawn.seconds - drawn.load_s));
            if picture != &pictures[0] {
                row.apart.push(compare(binary, &pictures[0], picture)?);
            }
        }
    }
    Ok(rows)
}

/// Puts the table into the page, in the place of the last one.
fn write(rows: &[Row]) -> Result<()> {
    let path = workspace_root().join("docs/speed.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{} has no {BEGIN}", path.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{} has no {END}", path.display()))?;
    fs::write(&path, format!("{before}{BEGIN}\n\n{}\n{END}{after}", table(rows)))?;
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut table =
        String::from("| scheduler | way | time | PSNR, mean (least) | SSIM | MS-SSIM |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let full =
            rows.iter().find(|other| other.scheduler == row.scheduler).map_or(f64::NAN, |full| median(&full.seconds));
        let time = median(&row.seconds) / full;
        let likeness = match &row.apart[..] {
            [] => "– | 1 | 1".to_owned(),
            apart => {
                let values = |of: fn(&Distance) -> Option<f64>| apart.iter().filter_map(of).collect::<Vec<f64>>();
                let db = values(|d| d.psnr_db);
                let least = db.iter().copied().fold(f64::INFINITY, f64::min);
                let (ssim, ms_ssim) = (values(|d| d.ssim), values(|d| d.ms_ssim));
                format!("{:.1} dB ({least:.1}) | {:.3} | {:.3}", mean(&db), mean(&ssim), mean(&ms_ssim))
            }
        };
        table += &format!("| {} | {} | {time:.2} | {likeness} |\n", row.scheduler, row.label);
    }
    table
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_by_its_scheduler_and_its_likeness() {
        let apart = [(30.0, 0.9), (34.0, 0.8)];
        let apart = apart.map(|(db, ssim)| Distance { psnr_db: Some(db), ssim: Some(ssim), ms_ssim: Some(0.95) });
        let rows = [
            Row { label: "all", scheduler: "pndm", seconds: vec![4.0, 4.0, 9.0], apart: vec![] },
            Row { label: "some", scheduler: "pndm", seconds: vec![1.0, 2.0, 2.0], apart: apart.to_vec() },
        ];
        let table = table(&rows);
        assert!(table.contains("| pndm | all | 1.00 | – | 1 | 1 |"), "{table}");
        assert!(table.contains("| pndm | some | 0.50 | 32.0 dB (30.0) | 0.850 | 0.950 |"), "{table}");
    }
}
