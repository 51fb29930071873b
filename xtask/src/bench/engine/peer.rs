//! PyTorch and OpenVINO in f32, on the models of the same checkpoint.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::models::Model;
use crate::{
    bench::{record::Metrics, script::Script},
    python,
};

/// Those that are measured.
pub(super) const PEERS: [&str; 2] = ["torch", "openvino"];
const REQUIREMENTS: [&str; 4] = ["torch==2.15.0", "diffusers==0.42.1", "transformers==5.24.0", "openvino==2026.4.1"];
const SCRIPT: &str = include_str!("../peer_engines.py");

/// A running Python with one model in one engine.
#[derive(Debug)]
pub(super) struct Peer {
    name: &'static str,
    script: Script,
}

impl Peer {
    /// Makes the environment if need be, loads the model and runs it once to warm up.
    pub(super) fn start(scratch: &Path, checkpoint: &Path, name: &'static str, model: &Model) -> Result<Self> {
        let python = python::ensure_venv(&scratch.join("engine-venv"), &REQUIREMENTS)?;
        let mut script = Script::start(&python, scratch, "peer_engines.py", SCRIPT, |command| {
            command.args([name, model.name]).arg(checkpoint);
        })?;
        let shape: Vec<usize> = script.read().with_context(|| format!("{name} cannot run the {}", model.name))?;
        ensure!(!shape.is_empty(), "{name}: the {} has no result", model.name);
        Ok(Self { name, script })
    }

    /// Measures one turn, right after ours took `our_s`.
    pub(super) fn measure(&mut self, model: &Model, our_s: f64, metrics: &mut Metrics) -> Result<()> {
        let mut seconds: Vec<f64> = self.script.ask(&model.n_runs)?;
        seconds.sort_by(f64::total_cmp);
        let seconds = *seconds.get(seconds.len() / 2).context("no times")?;
        let (peer, name) = (self.name, model.name);
        metrics.add(format!("peer_{peer}_{name}_{}", model.unit.name()), model.unit.name(), model.unit.of(seconds));
        metrics.add(format!("{name}_vs_{peer}"), "time of the peer / ours", seconds / our_s);
        Ok(())
    }

    /// What it holds when it has run: less than its peak, which is that of loading.
    pub(super) fn add_memory(&self, model: &Model, metrics: &mut Metrics) {
        if let Some(megabytes) = self.script.memory_mb() {
            metrics.add(format!("peer_{}_{}_mb", self.name, model.name), "MB", megabytes);
        }
    }
}

/// How they were measured, for the record.
pub(super) fn note() -> String {
    format!(
        "peers: {}; f32, PyTorch channels last and not compiled, OpenVINO INFERENCE_PRECISION_HINT f32, all threads; one \
         run to warm up, then a run after each of ours; peer_*_mb: anonymous and shared memory after the runs",
        REQUIREMENTS.join(" ")
    )
}
