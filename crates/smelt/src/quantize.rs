//! Weights and activations of 8 bits, for systems that compute with integers.
//!
//! The package is run here on calibration data, which tells the ranges of what its layers read and what each layer loses.

mod samples;

use std::path::{Path, PathBuf};
use std::time::Instant;

use host_tensor::{DType, Stop};
use mil::Program;
use mil_compress::{Blocks, Limits, Plan, Quantize, RangeRule, Scheme, WorkKind, n_fused_attentions, quantizable};
use mlpackage::{Body, Existing, Package};
use safe_files::Outputs;
use sd_convert::compress::{Writing as How, write_compressed};
use sd_convert::quantize::{Choice, Goal, Layer, Loss, Measuring, choose, layers, observe, weights_config};
use serde::Serialize;

use crate::error::{Context, Error, Result, refuse};
use crate::package::{is_named_as_package, open_package, refuse_existing};
use crate::units::count;
use crate::watch::{self, Event, Progress, Unit, Watch, Writing};
use samples::Samples;

/// Integers of all weights: symmetric, with a scale for each output channel, as products of integers need them.
const WEIGHTS: Scheme = Scheme::Quantize(Quantize { dtype: DType::I8, symmetric: true, blocks: Blocks::PerChannel });

/// How a package gets weights and activations of 8 bits.
#[derive(Debug, Clone)]
pub struct Quantization {
    /// The file of calibration data; random inputs without it.
    pub calibration: Option<PathBuf>,
    /// How ranges follow from what is seen.
    pub ranges: RangeRule,
    /// Which layers are quantized.
    pub goal: Goal,
    /// Samples on which losses are measured, spread evenly over those that there are.
    pub measured: usize,
    /// Bytes that values may take which are looked at in one run.
    pub memory: usize,
    /// What happens to a package that is there already.
    pub existing: Existing,
}

impl Default for Quantization {
    /// The layers of Apple's rules, by losses on 8 samples; ranges with the least squared error.
    fn default() -> Self {
        Self {
            calibration: None,
            ranges: RangeRule::Mse,
            goal: Goal::Thresholds { layers: 40.0, attention: 30.0 },
            measured: 8,
            memory: 1 << 30,
            existing: Existing::Refuse,
        }
    }
}

/// What was quantized.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct QuantizationReport {
    /// The package.
    pub path: String,
    /// Samples that ranges are of.
    pub samples: usize,
    /// Samples that losses are of.
    pub measured: usize,
    /// How ranges follow from what was seen.
    pub ranges: String,
    /// Every layer that could be quantized, in the order of the program.
    pub layers: Vec<QuantizedLayer>,
    /// Share of the products of two numbers in them that integers compute, 0 to 1.
    pub share: f64,
    /// Values that are quantized.
    pub values: usize,
    /// Operations that compute attention in one piece, whose products cannot be.
    pub fused_attentions: usize,
    /// Mean PSNR of the outputs in dB.
    pub psnr_db: f64,
    /// Mean square of what the outputs lose.
    pub loss: f64,
    /// Bytes of the package before.
    pub bytes_before: u64,
    /// Bytes of the package.
    pub bytes: u64,
    /// What the user was told.
    pub warnings: Vec<String>,
    /// Time for everything.
    pub seconds: f64,
}

/// A layer, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct QuantizedLayer {
    /// Its name.
    pub name: String,
    /// Types of its operations.
    pub operations: String,
    /// Whether integers compute it.
    pub quantized: bool,
    /// Whether a rule by name decided that.
    pub by_rule: bool,
    /// Its share of the products of two numbers.
    pub share: f64,
    /// Mean PSNR of the outputs in dB when it alone is quantized, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_db: Option<f64>,
}

/// What is to be done.
#[derive(Debug)]
pub struct QuantizationPlan {
    asked: Quantization,
    package: Package,
    output: PathBuf,
    outputs: Outputs,
    samples: Samples,
    layers: Vec<Layer>,
    begin: Instant,
}

impl Quantization {
    /// Decides what can be quantized of a package; nothing is run or written.
    ///
    /// # Errors
    /// For packages without such operations, of several functions or parts, and calibration data of other inputs.
    pub fn plan(&self, from: &Path, to: &Path) -> Result<QuantizationPlan> {
        let begin = Instant::now();
        if from.is_dir() && !is_named_as_package(from) {
            refuse!("{} is a folder of packages; give the denoiser's package in it", from.display());
        }
        if to.extension().is_none_or(|extension| extension != "mlpackage") {
            refuse!("{} must end with .mlpackage, as the package that it will be", to.display());
        }
        if self.measured == 0 {
            refuse!("losses on no samples were asked for; at least 1 is needed");
        }
        let mut outputs = Outputs::new();
        outputs.reads("the package", from)?;
        self.calibration.iter().try_for_each(|path| outputs.reads("--calibration", path))?;
        outputs.directory("-o", to)?;
        refuse_existing([to], self.existing)?;
        let package = open_package(from)?;
        let cannot = || format!("cannot quantize {}", from.display());
        let layers = layers_of(program_of(&package).with_context(cannot)?).with_context(cannot)?;
        let samples = Samples::of(&package, self.calibration.as_deref()).with_context(cannot)?;
        Ok(QuantizationPlan { asked: self.clone(), package, output: to.to_owned(), outputs, samples, layers, begin })
    }
}

/// The program of a package that is no pipeline.
fn program_of(package: &Package) -> Result<&Program> {
    match &package.model().body {
        Body::Program(program) => {
            mil::validate(program).map_err(sd_convert::ConvertError::InvalidProgram)?;
            Ok(program)
        }
        Body::Pipeline(_) => {
            refuse!("it is a pipeline of several programs; give the whole model, and cut it afterwards")
        }
    }
}

/// The layers that can be quantized.
fn layers_of(program: &Program) -> Result<Vec<Layer>> {
    if program.functions.len() > 1 {
        refuse!(
            "it has {}; activations are quantized for one size and number of samples, so convert for that",
            count(program.functions.len(), "function")
        );
    }
    let layers = layers(quantizable(program));
    if layers.is_empty() {
        let is_done = program.functions.values().any(|f| f.body.ops.iter().any(|op| op.kind == "quantize"));
        let why = if is_done { "its activations are quantized already" } else { "it has no products" };
        refuse!("there is nothing to quantize: {why}");
    }
    Ok(layers)
}

impl QuantizationPlan {
    /// What is read and written, for a client that has outputs of its own.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Observes, measures, chooses and writes.
    ///
    /// # Errors
    /// When the package cannot be run, the goal cannot be reached, or the disk is full; [`Error::Stopped`] once `stop` is
    /// set, or the watcher breaks off.
    pub fn run(&self, stop: &Stop, watch: &mut dyn Watch) -> Result<QuantizationReport> {
        let program = program_of(&self.package)?;
        let warnings = self.warnings(program);
        warnings.iter().try_for_each(|words| watch::warn(watch, words))?;
        let limits = self.limits(program, stop, watch)?;
        let measured = self.samples.some(self.asked.measured);
        let mut measuring = Measuring::new(program, (WEIGHTS, &limits), &measured, stop).map_err(stopped)?;
        let losses = self.losses(&measuring, stop, watch)?;
        watch::begin(watch, "choosing layers")?;
        let chosen = |indices: &[usize]| indices.iter().map(|idx| &self.layers[*idx]).collect::<Vec<_>>();
        let choice =
            choose(&self.layers, &losses, self.asked.goal, &mut |indices| measuring.together(chosen(indices), stop));
        let Choice { quantized, loss } = choice.map_err(stopped)?;
        let loss = match loss {
            Some(loss) => loss,
            None => measuring.together(chosen(&quantized), stop).map_err(stopped)?,
        };
        watch::end(watch)?;
        drop(measuring);
        let (bytes, values) = self.write(program, &chosen(&quantized), &limits, watch)?;
        let layers = self.described(&quantized, &losses);
        Ok(QuantizationReport {
            path: self.output.display().to_string(),
            samples: self.samples.len(),
            measured: measured.iter().map(|sample| sample.n_rows).sum(),
            ranges: self.asked.ranges.to_string(),
            share: layers.iter().filter(|layer| layer.quantized).map(|layer| layer.share).sum(),
            layers,
            values,
            fused_attentions: n_fused_attentions(program),
            psnr_db: loss.psnr,
            loss: loss.mean_square,
            bytes_before: self.package.n_bytes(),
            bytes,
            warnings,
            seconds: self.begin.elapsed().as_secs_f64(),
        })
    }

    fn warnings(&self, program: &Program) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.samples.is_random() {
            warnings.push(
                "without --calibration ranges and losses are those of random inputs, which no text and no half-denoised \
                 picture looks like; smelt calibrate records real ones"
                    .to_owned(),
            );
        }
        let n_fused = n_fused_attentions(program);
        if n_fused > 0 {
            warnings.push(format!(
                "{} attention in one piece, whose products stay at 16 bits: Core ML has no integers for them; convert for \
                 macOS14, or with --attention split-einsum, to have them quantized",
                if n_fused == 1 { "1 operation computes".to_owned() } else { format!("{n_fused} operations compute") }
            ));
        }
        warnings
    }

    /// The limit of every value that a layer reads, from what is seen of it.
    fn limits(&self, program: &Program, stop: &Stop, watch: &mut dyn Watch) -> Result<Limits> {
        let ops = || self.layers.iter().flat_map(|layer| &layer.ops);
        let values = ops().flat_map(|op| op.activations.iter().cloned()).collect();
        let samples = self.samples.all();
        let mut on = |done, total| watch.event(runs("observing ranges", done, total));
        let seen = observe(program, &values, samples, self.asked.memory, (stop, &mut on)).map_err(stopped)?;
        watch::end(watch)?;
        let function = ops().map(|op| op.function.clone()).next().unwrap_or_default();
        let limit = |(name, seen)| ((function.clone(), name), self.asked.ranges.limit(&seen));
        Ok(seen.into_iter().map(limit).collect())
    }

    /// What each layer loses alone, where the goal depends on it.
    fn losses(&self, measuring: &Measuring<'_>, stop: &Stop, watch: &mut dyn Watch) -> Result<Vec<Option<Loss>>> {
        let is_asked = |layer: &Layer| match self.asked.goal {
            Goal::Thresholds { layers, attention } => {
                let least = if layer.work == WorkKind::Attention { attention } else { layers };
                layer.fixed.is_none() && least > 0.0
            }
            Goal::Floor(_) | Goal::Share(_) => true,
        };
        let total = self.layers.iter().filter(|layer| is_asked(layer)).count();
        let (mut done, mut losses) = (0, Vec::with_capacity(self.layers.len()));
        for layer in &self.layers {
            if !is_asked(layer) {
                losses.push(None);
                continue;
            }
            watch::tell(watch, runs("measuring layers", done, total))?;
            let loss = measuring.layer(layer, stop).map_err(stopped);
            losses.push(Some(loss.with_context(|| format!("cannot measure {}", layer.name))?));
            done += 1;
        }
        watch::end(watch)?;
        Ok(losses)
    }

    /// Writes the package; returns its bytes, and how many values are quantized.
    fn write(
        &self,
        program: &Program,
        chosen: &[&Layer],
        limits: &Limits,
        watch: &mut dyn Watch,
    ) -> Result<(u64, usize)> {
        let ops = chosen.iter().flat_map(|layer| &layer.ops).map(|op| (op.function.clone(), op.name.clone())).collect();
        let (program, values) = mil_compress::quantize_activations(program, &ops, limits)?;
        let plan = Plan::new(&program, &weights_config(WEIGHTS, chosen.iter().copied()))?;
        let mut writing = Writing::begin(watch);
        let mut progress = |at: sd_convert::compress::Progress| {
            let (done, total) = (at.done, at.total);
            writing.watch().event(Event::Progress(Progress { what: "writing", done, total, unit: Unit::Elements }))
        };
        let how = How { existing: self.asked.existing, measure: false, first: None, calibration: None };
        let description = &self.package.model().description;
        let written = write_compressed(&self.output, (&program, description), &plan, how, &mut progress);
        let (written, _) = written.map_err(stopped)?;
        Ok((written.model_bytes + written.weight_bytes, values))
    }

    fn described(&self, quantized: &[usize], losses: &[Option<Loss>]) -> Vec<QuantizedLayer> {
        let total = self.layers.iter().map(|layer| layer.multiplications).sum::<u64>().max(1) as f64;
        let has_rules = matches!(self.asked.goal, Goal::Thresholds { .. });
        let one = |(idx, layer): (usize, &Layer)| {
            let mut kinds: Vec<&str> = layer.ops.iter().map(|op| op.kind.as_str()).collect();
            kinds.dedup();
            QuantizedLayer {
                name: layer.name.clone(),
                operations: kinds.join(", "),
                quantized: quantized.contains(&idx),
                by_rule: has_rules && layer.fixed.is_some(),
                share: layer.multiplications as f64 / total,
                psnr_db: losses[idx].map(|loss| loss.psnr),
            }
        };
        self.layers.iter().enumerate().map(one).collect()
    }
}

/// Runs of the package that are done.
fn runs(what: &str, done: usize, total: usize) -> Event<'_> {
    Event::Progress(Progress { what, done: done as u64, total: total as u64, unit: Unit::Steps })
}

fn stopped(error: sd_convert::ConvertError) -> Error {
    match error {
        sd_convert::ConvertError::Compress(mil_compress::CompressError::Stopped) => Error::Stopped,
        other => other.into(),
    }
}
