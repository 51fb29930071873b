//! `cargo xtask mac`: what a Mac alone can prove of the Core ML engine, in ten minutes, as a report to be shared.
//!
//! Converts the model in the box, loads it in Core ML, compares with our engine, chooses functions, unloads and loads again,
//! predicts a thousand times, draws, measures, and tells what runs where.
//! A step that fails is told with the others, for each is news: nobody has run this yet.

mod report;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    smelt::{self, Profile, cargo, target_dir},
    workspace_root,
};
use report::{Network, Picture, Report};

/// What Core ML may use, in the order of the report.
const DEVICES: [&str; 4] = ["cpu", "gpu", "ne", "all"];
/// Where the tests that need a Mac are; what they print with these words is told.
const TESTS: [&str; 2] = ["--test=coreml", "--test=seam"];
const WORDS: [&str; 4] = [" dB", "KiB more", "DeviceSum", "skipped: "];
const PROMPT: [&str; 4] = ["generate", "a red heart", "--seed", "7"];

/// Runs every step, and writes the report; the error says how many failed.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command reports what it found")]
pub(crate) fn run() -> Result<()> {
    check_system(std::env::consts::OS)?;
    let folder = target_dir()?.join("mac");
    fs::create_dir_all(&folder)?;
    let mut report = Report { machine: machine(), commit: commit(), ..Report::default() };
    eprintln!("mac: building");
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    report.step("tests of the engine: every network on every device at 35 dB, models of our compiler, functions, unloading, memory", tests);
    let models = folder.join("emoji");
    report.step("convert the model in the box", || convert(&binary, &models));
    let ours = folder.join("ours.png");
    let by_us = report.picture("cpu engine", || draw(&binary, &models, &ours, &[]));
    report.pictures.extend(by_us);
    for device in DEVICES {
        let picture = folder.join(format!("{device}.png"));
        let drawn = report.picture(device, || {
            let drawn = draw(&binary, &models, &picture, &["--engine", "coreml", "--device", device])?;
            Ok(Picture { db: decibels(&binary, &ours, &picture)?, ..drawn })
        });
        report.pictures.extend(drawn);
        let measured =
            report.networks(device, || bench(&binary, &models, &["--engine", "coreml", "--device", device, "--plan"]));
        report.networks.extend(measured);
    }
    let measured = report.networks("cpu engine", || bench(&binary, &models, &[]));
    report.networks.extend(measured);
    let path = folder.join("report.md");
    let text = report.to_string();
    fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{text}\nwrote {}; please share it, with the pictures beside it", path.display());
    match report.steps.iter().filter(|step| step.fault.is_some()).count() {
        0 => Ok(()),
        n => bail!("{n} of {} steps failed; the report says which", report.steps.len()),
    }
}

/// Refuses what has no Core ML.
fn check_system(system: &str) -> Result<()> {
    ensure!(
        system == "macos",
        "cargo xtask mac is for a Mac: it loads models in Core ML, which {system} does not have; cargo xtask cross \
         type-checks the engine anywhere"
    );
    Ok(())
}

/// What a program prints, or nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(workspace_root()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn machine() -> String {
    let [chip, memory] = ["machdep.cpu.brand_string", "hw.memsize"].map(|key| said("sysctl", &["-n", key]));
    let memory = memory.parse::<u64>().map_or_else(|_| "?".into(), |bytes| (bytes >> 30).to_string());
    let [version, build] = ["-productVersion", "-buildVersion"].map(|what| said("sw_vers", &[what]));
    format!("{chip}, {memory} GiB, macOS {version} ({build})")
}

fn commit() -> String {
    said("git", &["rev-parse", "--short", "HEAD"])
}

/// Runs a command to its successful end, and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("cannot start {program}"))?;
    let [printed, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    ensure!(output.status.success(), "{} ({}): {printed}{errors}", arguments.join(" "), output.status);
    Ok(printed)
}

/// The tests that need a Mac; what they measured.
fn tests() -> Result<Vec<String>> {
    let mut command = cargo();
    command.args(["test", "--release", "-p=sd-engines"]).args(TESTS).args(["--", "--nocapture", "--test-threads=1"]);
    let printed = output(&mut command)?;
    let is_told = |line: &&str| WORDS.iter().any(|words| line.contains(words));
    Ok(printed.lines().filter(is_told).map(str::to_owned).collect())
}

fn convert(binary: &Path, models: &Path) -> Result<Vec<String>> {
    let demo = workspace_root().join("crates/sd-demo/sd-emoji");
    output(smelt::convert(binary, &demo, models).arg("--force"))?;
    Ok(Vec::new())
}

/// Draws a picture twice, for the first compiles models that are not in the cache; the second counts.
fn draw(binary: &Path, models: &Path, picture: &Path, engine: &[&str]) -> Result<Picture> {
    let mut seconds = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        let mut command = Command::new(binary);
        output(command.args(PROMPT).arg("-m").arg(models).arg("-o").arg(picture).args(engine))?;
        seconds = start.elapsed().as_secs_f64();
    }
    Ok(Picture { name: String::new(), seconds, db: None })
}

/// How near a picture is to ours; none where they are equal.
fn decibels(binary: &Path, ours: &Path, theirs: &Path) -> Result<Option<f64>> {
    let json = output(Command::new(binary).arg("compare").arg(ours).arg(theirs).arg("--json"))?;
    let json: Value = serde_json::from_str(&json).context("smelt compare prints something else now")?;
    Ok(json["pictures"][1]["difference"]["psnr_db"].as_f64())
}

/// Measures every package of a folder.
fn bench(binary: &Path, models: &Path, engine: &[&str]) -> Result<Vec<Network>> {
    let json = output(Command::new(binary).arg("bench").arg(models).args(engine).arg("--json"))?;
    report::networks(&serde_json::from_str(&json).context("smelt bench prints no JSON")?)
        .context("smelt bench prints something else now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_systems_are_refused_by_name() {
        assert!(check_system("macos").is_ok());
        for system in ["linux", "windows", "ios"] {
            let error = check_system(system).expect_err("it has no Core ML, or no cargo").to_string();
            assert!(error.contains("is for a Mac") && error.contains(system), "{error}");
        }
    }
}
