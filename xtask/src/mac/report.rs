//! What was found on a Mac, as Markdown.

use std::{fmt, path::Path};

use anyhow::Result;
use serde_json::Value;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) machine: String,
    pub(super) commit: String,
    pub(super) steps: Vec<Step>,
    pub(super) pictures: Vec<Picture>,
    pub(super) networks: Vec<(String, Network)>,
}

/// One step, and what it told.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) told: Vec<String>,
    /// Why it failed, if it did.
    pub(super) fault: Option<String>,
}

/// A picture that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) name: String,
    /// From the command's start to its end.
    pub(super) seconds: f64,
    /// How near it is to ours; none where it is the same.
    pub(super) db: Option<f64>,
}

/// How fast a network runs, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) load_s: f64,
    pub(super) median_s: f64,
    /// What each device has to do: its name, operations, share of the cost.
    pub(super) devices: Vec<(String, u64, f64)>,
}

impl Report {
    /// Does a step, and remembers what came of it.
    pub(super) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Vec<String>>) {
        self.kept(name, work, |told| told.clone());
    }

    /// Draws a picture as a step, and gives it its name.
    pub(super) fn picture(&mut self, name: &str, work: impl FnOnce() -> Result<Picture>) -> Option<Picture> {
        let drawn = self.kept(&format!("draw on {name}"), work, |_| Vec::new());
        drawn.map(|drawn| Picture { name: name.to_owned(), ..drawn })
    }

    /// Measures networks as a step, and gives them the name of what they ran on.
    pub(super) fn networks(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<Vec<Network>>,
    ) -> Vec<(String, Network)> {
        let measured = self.kept(&format!("measure on {name}"), work, |_| Vec::new());
        measured.unwrap_or_default().into_iter().map(|network| (name.to_owned(), network)).collect()
    }

    #[allow(clippy::print_stderr, reason = "progress of a command")]
    fn kept<T>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<T>,
        told: impl FnOnce(&T) -> Vec<String>,
    ) -> Option<T> {
        eprintln!("mac: {name}");
        let done = work();
        let fault = done.as_ref().err().map(|error| format!("{error:#}"));
        let told = done.as_ref().map_or_else(|_| Vec::new(), told);
        self.steps.push(Step { name: name.to_owned(), told, fault });
        done.ok()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Core ML engine on a Mac\n\n{}, commit {}\n\n## Steps\n", self.machine, self.commit)?;
        for Step { name, told, fault } in &self.steps {
            writeln!(f, "- {}: {name}", if fault.is_some() { "FAILED" } else { "passed" })?;
            let lines = told.iter().map(String::as_str).chain(fault.iter().flat_map(|fault| fault.lines()));
            for line in lines {
                writeln!(f, "      {line}")?;
            }
        }
        writeln!(f, "\n## Networks\n\n| network | on | load | run | operations by device |\n|---|---|---|---|---|")?;
        for (on, Network { name, load_s, median_s, devices }) in &self.networks {
            let device = |(device, n, share): &(String, u64, f64)| format!("{device}: {n} ({:.0} %)", 100.0 * share);
            let devices: Vec<String> = devices.iter().map(device).collect();
            let ms = 1e3 * median_s;
            writeln!(f, "| {name} | {on} | {load_s:.2} s | {ms:.1} ms | {} |", devices.join(", "))?;
        }
        writeln!(f, "\n## Pictures\n\n| on | whole command | against ours |\n|---|---|---|")?;
        for Picture { name, seconds, db } in &self.pictures {
            let near = db.map_or_else(|| "the same".into(), |db| format!("{db:.1} dB"));
            writeln!(f, "| {name} | {seconds:.2} s | {near} |")?;
        }
        Ok(())
    }
}

/// Reads what `smelt bench --json` prints.
pub(super) fn networks(json: &Value) -> Option<Vec<Network>> {
    let network = |model: &Value| {
        let device = |d: &Value| {
            let name = d["device"].as_str().unwrap_or("?").to_owned();
            Some((name, d["operations"].as_u64()?, d["share"].as_f64()?))
        };
        let devices = model["plan"]["devices"].as_array().map_or(&[][..], Vec::as_slice);
        Some(Network {
            name: Path::new(model["package"].as_str()?).file_stem()?.to_string_lossy().into_owned(),
            load_s: model["load_s"].as_f64()?,
            median_s: model["median_s"].as_f64()?,
            devices: devices.iter().map(device).collect::<Option<_>>()?,
        })
    };
    json["models"].as_array()?.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_tells_steps_that_failed_with_all_others() {
        let mut report = Report { machine: "Apple M2".into(), commit: "0123".into(), ..Report::default() };
        report.step("tests", || Ok(vec!["unet on ne: 51.0 dB".into()]));
        assert!(report.picture("ne", || bail!("no\nreally")).is_none());
        let drawn = report.picture("gpu", || Ok(Picture { name: String::new(), seconds: 1.5, db: Some(40.25) }));
        report.pictures.extend(drawn);
        let models = json!({"models": [
            {"package": "a/x_unet.mlpackage", "load_s": 0.5, "median_s": 0.0125,
             "plan": {"devices": [{"device": "Neural Engine", "operations": 90, "share": 0.9},
                                  {"device": null, "operations": 2, "share": 0.1}]}},
            {"package": "a/x_vae_decoder.mlpackage", "load_s": 1.0, "median_s": 0.5}
        ]});
        let measured = report.networks("ne", || Ok(networks(&models).expect("as smelt bench prints it")));
        report.networks.extend(measured);
        let text = report.to_string();
        for line in [
            "Apple M2, commit 0123",
            "- passed: tests\n      unet on ne: 51.0 dB\n- FAILED: draw on ne\n      no\n      really\n- passed: draw on gpu",
            "| x_unet | ne | 0.50 s | 12.5 ms | Neural Engine: 90 (90 %), ?: 2 (10 %) |",
            "| x_vae_decoder | ne | 1.00 s | 500.0 ms |  |",
            "| gpu | 1.50 s | 40.2 dB |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(networks(&json!({"models": [{"package": "a"}]})), None);
    }
}
