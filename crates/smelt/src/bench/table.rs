//! Whole pictures, measured as the tables of Apple's ml-stable-diffusion have them: a row for a model on a machine.
//!
//! The columns and what they mean are those of its README: 20 steps of one picture with guidance, from its prompt to its
//! pixels, with models that are loaded. The safety checker is left out.

use std::ops::ControlFlow;
use std::time::Instant;

use mil::Function;
use sd_convert::AttentionLayout;
use sd_engines::{BurnDevice, ComputeUnits};
use serde::Serialize;

use super::measure::median;
use crate::engine::{Device, EngineKind, EngineSpec};
use crate::error::{Result, refuse};
use crate::load::PipelineOptions;
use crate::machine::Machine;
use crate::model_dir::ModelDir;
use crate::open::{Model, Opened};
use crate::package::open_package;
use crate::request::Request;
use crate::units::{bytes, count};
use crate::watch::{Event, Watch};

/// The prompt of Apple's tables; each run has a number behind it, so that no text is known from the run before.
const PROMPT: &str = "a high quality photo of a surfing dog";
/// Steps of Apple's tables.
const STEPS: usize = 20;

/// What is measured.
#[derive(Debug, Clone)]
pub struct PictureBenchmark {
    /// Measured pictures, after one to warm up.
    pub runs: u16,
    /// Seed of the first.
    pub seed: u64,
    /// Guidance.
    pub guidance: f32,
    /// Attention layout of a checkpoint that is converted in memory; default: split-einsum.
    pub attention: Option<AttentionLayout>,
    /// What executes the models.
    pub engine: EngineSpec,
}

impl Default for PictureBenchmark {
    fn default() -> Self {
        let guidance = Request::default().guidance;
        Self { runs: 5, seed: 0, guidance, attention: None, engine: EngineSpec::default() }
    }
}

/// A row of the table, and what is behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableRow {
    /// The processor, and how many threads it runs at once.
    pub device: String,
    /// What of the machine computes, as Apple's tools call it.
    pub compute_unit: &'static str,
    /// Layout of the denoiser's attention, as Apple's tools call it.
    pub attention_implementation: &'static str,
    /// Median of the times from a prompt to its picture.
    pub latency_s: f64,
    /// Median of the evaluations of the denoiser in a second.
    pub iterations_per_s: f64,
    /// All of these times, in order.
    pub latencies_s: Vec<f64>,
    /// Time to load the models.
    pub load_s: f64,
    /// The model.
    pub model: String,
    /// Columns and rows of its pictures.
    pub size: [usize; 2],
    /// Steps that were asked for.
    pub steps: usize,
    /// Evaluations of the denoiser that they are.
    pub evaluations: usize,
    /// The scheduler.
    pub scheduler: String,
    /// Guidance.
    pub guidance: f32,
    /// The engine with its options, in one line.
    pub engine: String,
    /// Instruction set of the CPU engine, where that computes.
    pub isa: Option<&'static str>,
    /// The operating system.
    pub system: String,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Threads that wanted to run in the last minute before, on average, where the system tells.
    pub load: Option<f64>,
    /// Name and version of what measured.
    pub software: &'static str,
}

/// Names of the columns.
const COLUMNS: [&str; 5] = [
    "Device",
    "`--compute-unit`",
    "`--attention-implementation`",
    "End-to-End Latency (s)",
    "Diffusion Speed (iter/s)",
];

impl PictureBenchmark {
    /// Measures a model.
    ///
    /// # Errors
    /// As [`Opened::pipeline`](crate::Opened::pipeline) and [`Pipeline::draw`](crate::Pipeline::draw).
    pub fn run(&self, opened: &Opened, watch: &mut dyn Watch) -> Result<TableRow> {
        let machine = Machine::look(self.engine.isa.as_deref())?;
        let attention_implementation = self.attention_of(opened)?;
        let options = PipelineOptions {
            engine: self.engine.clone(),
            attention: self.attention,
            steps: STEPS,
            safety_check: false,
            ..PipelineOptions::default()
        };
        let begin = Instant::now();
        let mut pipeline = opened.pipeline(&options)?;
        let load_s = begin.elapsed().as_secs_f64();
        let (mut latencies_s, mut speeds, mut evaluations, mut size) = (Vec::new(), Vec::new(), 0, [0, 0]);
        for run in 0..=u64::from(self.runs) {
            let request = Request {
                prompt: format!("{PROMPT} {run}"),
                seed: self.seed + run,
                steps: STEPS,
                guidance: self.guidance,
                no_safety_check: true,
                ..Request::default()
            };
            let mut timed = Timed { watch: &mut *watch, steps: Vec::new() };
            let begin = Instant::now();
            let drawing = pipeline.draw(&request, &mut timed)?;
            let latency = begin.elapsed().as_secs_f64();
            if let Some(picture) = drawing.pictures.first() {
                size = [picture.image.size().width, picture.image.size().height];
            }
            evaluations = timed.steps.len();
            // The first one warms up.
            if run > 0 {
                latencies_s.push(latency);
                speeds.push(timed.speed());
            }
        }
        let processor = &machine.processor;
        Ok(TableRow {
            device: format!("{}, {} threads", processor.name, processor.threads),
            compute_unit: compute_unit(&self.engine),
            attention_implementation,
            latency_s: median(latencies_s.clone()),
            iterations_per_s: median(speeds),
            latencies_s,
            load_s,
            model: pipeline.name().to_owned(),
            size,
            steps: STEPS,
            evaluations,
            scheduler: pipeline.scheduler().to_string(),
            guidance: self.guidance,
            engine: self.engine.to_string(),
            isa: processor.chosen.filter(|_| self.engine.kind == EngineKind::Cpu),
            system: machine.system,
            memory_bytes: machine.memory.total_bytes,
            load: processor.load,
            software: crate::SOFTWARE,
        })
    }

    /// The layout of a model's attention.
    fn attention_of(&self, opened: &Opened) -> Result<&'static str> {
        match opened.model() {
            Model::Checkpoint(_) if self.engine.kind == EngineKind::Burn => Ok(WHOLE),
            Model::Checkpoint(_) => Ok(name(self.attention.unwrap_or(AttentionLayout::SplitEinsum))),
            Model::Packages(dir) => {
                let packages = ModelDir::find(dir, None)?;
                let denoiser = packages.roles().into_iter().find(|role| role.is_denoiser());
                let Some(first) = denoiser.and_then(|role| packages.packages(role).first().cloned()) else {
                    refuse!("{} holds no denoiser", dir.display())
                };
                let package = open_package(&first)?;
                let programs = package.model().programs();
                let functions: Vec<&Function> = programs.into_iter().flat_map(|p| p.functions.values()).collect();
                Ok(of_functions(&functions))
            }
        }
    }
}

/// Attention that is one operation.
const WHOLE: &str = "SDPA";

fn name(layout: AttentionLayout) -> &'static str {
    match layout {
        AttentionLayout::Original => "ORIGINAL",
        AttentionLayout::SplitEinsum => "SPLIT_EINSUM",
        AttentionLayout::SplitEinsumV2 => "SPLIT_EINSUM_V2",
    }
}

/// The layout that operations tell; of the two that split, both are the first.
fn of_functions(functions: &[&Function]) -> &'static str {
    let has = |kind: &str| {
        let mut is_there = false;
        functions.iter().for_each(|f| f.body.for_each_op(&mut |op| is_there |= op.kind == kind));
        is_there
    };
    match (has("einsum"), has("scaled_dot_product_attention")) {
        (true, _) => name(AttentionLayout::SplitEinsum),
        (false, true) => WHOLE,
        (false, false) => name(AttentionLayout::Original),
    }
}

/// What of the machine an engine may use.
fn compute_unit(engine: &EngineSpec) -> &'static str {
    match (engine.kind, engine.device) {
        (EngineKind::CoreMl, Some(Device::CoreMl(ComputeUnits::CpuOnly))) => CPU_ONLY,
        (EngineKind::CoreMl, Some(Device::CoreMl(ComputeUnits::CpuAndGpu))) => "CPU_AND_GPU",
        (EngineKind::CoreMl, Some(Device::CoreMl(ComputeUnits::CpuAndNeuralEngine))) => "CPU_AND_NE",
        (EngineKind::CoreMl, _) => "ALL",
        (EngineKind::Burn, Some(Device::Burn(device))) if device != BurnDevice::Flex => "GPU",
        _ => CPU_ONLY,
    }
}

const CPU_ONLY: &str = "CPU_ONLY";

/// Takes the time of steps, for whoever looks on.
struct Timed<'w> {
    watch: &'w mut dyn Watch,
    /// When each was done.
    steps: Vec<Instant>,
}

impl Watch for Timed<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if matches!(event, Event::Step(_)) {
            self.steps.push(Instant::now());
        }
        self.watch.event(event)
    }
}

impl Timed<'_> {
    /// Evaluations in a second, between the first and the last.
    fn speed(&self) -> f64 {
        match self.steps[..] {
            [first, .., last] => (self.steps.len() - 1) as f64 / (last - first).as_secs_f64(),
            _ => f64::NAN,
        }
    }
}

impl TableRow {
    /// A table of rows, as Markdown; below it, what is behind each.
    #[must_use]
    pub fn markdown(rows: &[Self]) -> String {
        let line = |cells: [String; 5]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(COLUMNS.map(str::to_owned)) + &line([":-:"; 5].map(str::to_owned));
        for row in rows {
            text += &line([
                row.device.clone(),
                format!("`{}`", row.compute_unit),
                format!("`{}`", row.attention_implementation),
                three_digits(row.latency_s),
                three_digits(row.iterations_per_s),
            ]);
        }
        text.push('\n');
        rows.iter().for_each(|row| text += &row.below());
        text
    }

    /// What is behind the figures.
    fn below(&self) -> String {
        let least = self.latencies_s.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.latencies_s.iter().copied().fold(0.0, f64::max);
        let Self { software, engine, model, size: [width, height], steps, scheduler, guidance, .. } = self;
        let isa = self.isa.map_or_else(String::new, |isa| format!(" ({isa})"));
        let load = self.load.map_or_else(String::new, |load| format!(", load {load:.1} when it began"));
        format!(
            "{software}, engine {engine}{isa}: {model}, {width}x{height}, {steps} steps of {scheduler} ({}), guidance \
             {guidance}; medians of {} after one to warm up, {} to {} s, models loaded in {} s before; {}, {} memory{load}.\n",
            count(self.evaluations, "evaluation"),
            count(self.latencies_s.len(), "picture"),
            three_digits(least),
            three_digits(most),
            three_digits(self.load_s),
            self.system,
            bytes(self.memory_bytes),
        )
    }
}

/// A number with three digits that count.
fn three_digits(value: f64) -> String {
    let n_decimals = match value.abs() {
        value if value < 1.0 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.n_decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(latency_s: f64) -> TableRow {
        TableRow {
            device: "Chip, 2 threads".to_owned(),
            compute_unit: CPU_ONLY,
            attention_implementation: name(AttentionLayout::Original),
            latency_s,
            iterations_per_s: 2.345_6,
            latencies_s: vec![latency_s, latency_s * 2.0, latency_s / 2.0],
            load_s: 0.5,
            model: "m".to_owned(),
            size: [768, 512],
            steps: STEPS,
            evaluations: 21,
            scheduler: "pndm".to_owned(),
            guidance: 7.5,
            engine: "cpu".to_owned(),
            isa: Some("avx2"),
            system: "Linux".to_owned(),
            memory_bytes: 16_000_000_000,
            load: Some(0.25),
            software: "smelt",
        }
    }

    #[test]
    fn a_table_has_the_columns_of_the_reference_and_what_is_behind_them() {
        let text = TableRow::markdown(&[row(12.345), row(0.012_34)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "| Device | `--compute-unit` | `--attention-implementation` | End-to-End Latency (s) | Diffusion Speed (iter/s) |"
        );
        assert_eq!(lines[1], "| :-: | :-: | :-: | :-: | :-: |");
        assert_eq!(lines[2], "| Chip, 2 threads | `CPU_ONLY` | `ORIGINAL` | 12.3 | 2.35 |");
        assert_eq!(lines[3], "| Chip, 2 threads | `CPU_ONLY` | `ORIGINAL` | 0.012 | 2.35 |");
        assert!(lines[5].contains("(avx2): m, 768x512, 20 steps of pndm (21 evaluations)"), "{}", lines[5]);
        assert!(lines[5].contains("medians of 3 pictures after one to warm up, 6.17 to 24.7 s"), "{}", lines[5]);
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn what_computes_has_the_names_of_apples_tools() {
        for (engine, unit) in [
            ("cpu", "CPU_ONLY"),
            ("reference", "CPU_ONLY"),
            ("burn", "CPU_ONLY"),
            ("burn:metal", "GPU"),
            ("coreml", "ALL"),
            ("coreml:ne", "CPU_AND_NE"),
        ] {
            assert_eq!(compute_unit(&engine.parse().unwrap()), unit, "{engine}");
        }
    }
}
