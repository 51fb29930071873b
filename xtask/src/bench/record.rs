//! Results: medians with their spread, and the line that is kept of them.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::workspace_root;

/// Named samples in the order in which they were first added, and words about them.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    metrics: Vec<Metric>,
    notes: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Metric {
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Metrics {
    /// Adds one sample to the metric `name`.
    pub(super) fn add(&mut self, name: impl Into<String>, unit: &'static str, sample: f64) {
        let name = name.into();
        match self.metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.samples.push(sample),
            None => self.metrics.push(Metric { name, unit, samples: vec![sample] }),
        }
    }

    /// The median of the metric `name`, if there is one.
    pub(super) fn median(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|metric| metric.name == name)?;
        Some(median(&sorted(&metric.samples)))
    }

    /// Says how something was measured; the last note of a name is kept.
    pub(super) fn note(&mut self, name: &'static str, text: String) {
        self.notes.retain(|(other, _)| *other != name);
        self.notes.push((name, text));
    }

    fn to_json(&self) -> Value {
        let summary = |metric: &Metric| {
            let sorted = sorted(&metric.samples);
            let round = |x: f64| (x * 1000.0).round() / 1000.0;
            let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
            json!({"median": round(median(&sorted)), "min": round(min), "max": round(max), "unit": metric.unit})
        };
        Value::Object(self.metrics.iter().map(|metric| (metric.name.clone(), summary(metric))).collect::<Map<_, _>>())
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// One line: what was measured, where, when and on which commit.
pub(super) fn line(bench: &str, metrics: &Metrics) -> String {
    let mut line = json!({
        "bench": bench,
        "commit": commit(),
        "date": date(SystemTime::now()),
        "machine": machine(),
        "metrics": metrics.to_json(),
    });
    if let Value::Object(fields) = &mut line {
        fields.extend(metrics.notes.iter().map(|(name, text)| ((*name).to_owned(), Value::from(text.clone()))));
    }
    line.to_string()
}

/// Appends the line to `benches/record/<bench>.jsonl` and returns it.
pub(super) fn append(bench: &str, metrics: &Metrics) -> Result<String> {
    let line = line(bench, metrics);
    let dir = workspace_root().join("benches/record");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{bench}.jsonl"));
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    writeln!(file, "{line}").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(line)
}

/// The commit that was measured, with a mark when sources differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace_root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    // Earlier results do not change what is measured.
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/record"]);
    if changes.is_some_and(|changes| changes.is_empty()) { head } else { format!("{head}+changes") }
}

/// The processor, its threads, the memory and the system, as far as they can be told.
fn machine() -> String {
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let memory_kib = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches("kB").trim().parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / 1024.0 / 1024.0));
    format!("{processor}, {threads} threads{memory_kib}, {}", std::env::consts::OS)
}

/// ISO 8601 in UTC, to the second.
fn date(time: SystemTime) -> String {
    let at = OffsetDateTime::from(time);
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), u8::from(date.month()), date.day())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_metric_is_its_median_and_its_extremes() {
        let mut metrics = Metrics::default();
        for sample in [3.0, 1.0, 2.0] {
            metrics.add("convert_s", "s", sample);
        }
        metrics.add("crates", "1", 4.0);
        metrics.add("crates", "1", 5.0);
        let wanted = json!({
            "convert_s": {"median": 2.0, "min": 1.0, "max": 3.0, "unit": "s"},
            "crates": {"median": 4.5, "min": 4.0, "max": 5.0, "unit": "1"},
        });
        assert_eq!(metrics.to_json(), wanted);
    }

    #[test]
    fn dates_are_gregorian() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400 + 3661), "2000-02-29T01:01:01Z");
        assert_eq!(at(1_795_381_020), "2026-11-22T20:57:00Z");
    }
}
