//! What each way to store each weight of a model costs at its outputs: measured, and written as an [`Analysis`].
//!
//! What is measured is kept weight by weight beside the file that will be ([`journal`]), so that a run that is killed goes
//! on where it was. A shard is every so many weights; shards put together ([`merge`]) are the whole, byte for byte.

mod inputs;
mod journal;
mod merge;
mod model;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Instant;

use mil_compress::{Config, Named};
use mil_sensitivity::{Analyser, Errors, Measured, Options, SensitivityError, estimate};
use safe_files::{Existing, OutputFile};
use sd_checkpoint::Source;
use sd_runtime::Stop;
use sd_spec::Role;
use serde::Serialize;

use crate::analysis::{AnalysedWeight, Analysis, AnalysisInputs, Choice, InputSource, Shard, VERSION};
use crate::engine::EngineSpec;
use crate::error::{Error, Result, refuse};
use crate::open::Opening;
use crate::watch::{self, Event, Progress, Unit, Watch, write_file};
use inputs::Inputs;
use journal::{Entry, Journal};
pub use merge::{MergedAnalysis, merge};
use model::Model;
pub(crate) use model::inputs_of;

/// How a model is analysed.
#[derive(Debug, Clone)]
pub struct Analysing {
    /// Which network of a checkpoint; default: the denoiser.
    pub component: Option<Role>,
    /// How a checkpoint is read.
    pub opening: Opening,
    /// Ways to store a weight that are looked at.
    pub schemes: Vec<Named>,
    /// Those of them that are measured at the outputs; the others are estimated.
    pub measured: Vec<Named>,
    /// Which weights: patterns, as those of a compression.
    pub only: Vec<String>,
    /// Which are left.
    pub skip: Vec<String>,
    /// Weights of at most this many elements are left.
    pub min_elements: Option<usize>,
    /// What `smelt calibrate` wrote; without it inputs are random.
    pub calibration: Option<PathBuf>,
    /// Samples that are run, spread evenly over those of the file; default: one batch for models of more than
    /// [`crate::LARGE`] elements, whichever weights are looked at, else 16.
    pub samples: Option<usize>,
    /// Seed of random inputs.
    pub seed: u64,
    /// A part of the weights.
    pub shard: Option<Shard>,
    /// What executes the model.
    pub engine: EngineSpec,
    /// What happens to a file that is there already.
    pub existing: Existing,
}

/// Samples for models that are not.
const SAMPLES: usize = 16;
/// What is looked at where nobody says: palettes of every width.
const SCHEMES: [&str; 6] = ["1", "2", "3", "4", "6", "8"];
/// What is measured of it.
const MEASURED: &str = "4";

impl Default for Analysing {
    fn default() -> Self {
        Self {
            component: None,
            opening: Opening::default(),
            schemes: SCHEMES.iter().filter_map(|name| name.parse().ok()).collect(),
            measured: MEASURED.parse().into_iter().collect(),
            only: Vec::new(),
            skip: Vec::new(),
            min_elements: None,
            calibration: None,
            samples: None,
            seed: 0,
            shard: None,
            engine: EngineSpec::default(),
            existing: Existing::Refuse,
        }
    }
}

/// What was analysed.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct AnalysisReport {
    /// The file.
    pub path: String,
    /// Name of the model.
    pub model: String,
    /// Where its inputs came from.
    pub inputs: InputSource,
    /// Samples that were run.
    pub samples: usize,
    /// Weights in the file.
    pub weights: usize,
    /// Ways to store each.
    pub schemes: Vec<String>,
    /// Weights that had been measured by an earlier run, which broke off.
    pub resumed: usize,
    /// What the user was told.
    pub warnings: Vec<String>,
    /// Time for everything.
    pub seconds: f64,
}

impl Analysing {
    /// Analyses a package, or a network of a checkpoint as it would be converted, and writes the file.
    ///
    /// The same model, inputs and options give the same bytes on one kind of processor.
    ///
    /// # Errors
    /// For models and inputs that do not fit, options that contradict each other, and a file that is there;
    /// [`Error::Stopped`] once `stop` is set or the watcher breaks off, after which the same call goes on where it was.
    pub fn run(
        &self,
        source: &Source,
        output: &OutputFile,
        stop: &Stop,
        watch: &mut dyn Watch,
    ) -> Result<AnalysisReport> {
        let begin = Instant::now();
        self.check(output)?;
        let options = Options {
            schemes: self.schemes.clone(),
            measured: self.measured.clone(),
            weights: self.weights(),
            engine: self.engine.cpu()?,
        };
        watch::begin(watch, "loading")?;
        let model = Model::open(self, source)?;
        let analyser = Analyser::new(&model.function, options)?;
        if analyser.weights().is_empty() {
            refuse!("{} has no weight that could be compressed", model.name);
        }
        let inputs = Inputs::of(self, &model)?;
        watch::end(watch)?;
        inputs.warnings.iter().try_for_each(|words| watch::warn(watch, words))?;
        let mut run = Run::new(self, &analyser, &model, &inputs, output)?;
        run.measure(stop, watch)?;
        let (analysis, resumed) = (run.analysis(), run.resumed);
        write_file(output, watch, |out| Ok(out.write_all(analysis.to_json()?.as_bytes())?))?;
        run.journal.discard()?;
        Ok(AnalysisReport {
            path: output.path().display().to_string(),
            model: model.name,
            inputs: inputs.source,
            samples: inputs.n_samples,
            weights: analysis.weights.len(),
            schemes: names(&self.schemes),
            resumed,
            warnings: inputs.warnings,
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    /// Refuses what is known to be impossible before a model is opened.
    fn check(&self, output: &OutputFile) -> Result<()> {
        if self.samples == Some(0) {
            refuse!("an analysis with no samples was asked for; at least 1 is needed");
        }
        if let Some(Shard { index, of }) = self.shard.filter(|shard| shard.index == 0 || shard.index > shard.of) {
            refuse!("there is no shard {index} of {of}; shards are counted from 1");
        }
        if !output.is_regular() {
            refuse!("an analysis is kept beside its file while it is made, so that it needs a file: -o analysis.json");
        }
        if self.existing == Existing::Refuse && output.path().exists() {
            return Err(Error::Exists(format!("{output} is there already; replace it with --force")));
        }
        Ok(())
    }

    fn weights(&self) -> Config {
        let usual = Config::default();
        Config {
            only: self.only.clone(),
            skip: self.skip.clone(),
            min_elements: self.min_elements.unwrap_or(usual.min_elements),
            ..usual
        }
    }
}

/// An analysis that is being made.
struct Run<'r> {
    asked: &'r Analysing,
    analyser: &'r Analyser,
    inputs: &'r Inputs,
    model: &'r Model,
    journal: Journal,
    /// Weights of this shard.
    mine: Vec<usize>,
    /// Those that an earlier run had measured with all inputs.
    resumed: usize,
}

impl<'r> Run<'r> {
    fn new(
        asked: &'r Analysing,
        analyser: &'r Analyser,
        model: &'r Model,
        inputs: &'r Inputs,
        output: &OutputFile,
    ) -> Result<Self> {
        let shard = asked.shard.unwrap_or(Shard { index: 1, of: 1 });
        let mine: Vec<usize> = (0..analyser.weights().len()).filter(|i| i % shard.of == shard.index - 1).collect();
        if mine.is_empty() {
            refuse!(
                "{} has {} weights, and shard {} has none of them",
                model.name,
                analyser.weights().len(),
                shard.index
            );
        }
        let about = journal::about(asked, analyser, &model.name, &inputs.digest);
        let journal = Journal::open(output.path(), &about, asked.existing)?;
        let n = inputs.batches.len();
        let resumed = mine.iter().filter(|&&i| (0..n).all(|batch| journal.has(batch, i))).count();
        Ok(Self { asked, analyser, inputs, model, journal, mine, resumed })
    }

    /// Measures what is not in the journal.
    fn measure(&mut self, stop: &Stop, watch: &mut dyn Watch) -> Result<()> {
        let work = |i: usize| ((self.analyser.work(i) + 0.05) * 1000.0) as u64;
        let n = self.inputs.batches.len();
        let of = |weights: &[usize]| weights.iter().map(|&i| work(i)).sum::<u64>();
        let open: Vec<Vec<usize>> = (0..n).map(|batch| self.open(batch)).collect();
        let total = of(&self.mine) * n as u64;
        let mut done = total - open.iter().map(|weights| of(weights)).sum::<u64>();
        let told = |done| Event::Progress(Progress { what: "measuring", done, total, unit: Unit::Elements });
        watch::tell(watch, told(done))?;
        for (batch, weights) in open.iter().enumerate() {
            if weights.is_empty() && self.journal.clean(batch).is_some() {
                continue;
            }
            let given = &self.inputs.batches[batch];
            let mut session = self.analyser.begin(&given.inputs, given.n_samples, stop).map_err(stopped)?;
            self.journal.note_clean(batch, session.clean())?;
            for &weight in weights {
                let entry = session.measure(weight, stop).map_err(stopped)?;
                self.journal.note(batch, weight, entry)?;
                done += work(weight);
                watch::tell(watch, told(done))?;
            }
        }
        watch::end(watch)
    }

    /// Weights that are not in the journal.
    fn open(&self, batch: usize) -> Vec<usize> {
        self.mine.iter().copied().filter(|&i| !self.journal.has(batch, i)).collect()
    }

    /// What was measured, all inputs together.
    fn analysis(&self) -> Analysis {
        let n = self.inputs.batches.len();
        let clean: Vec<_> = (0..n).filter_map(|batch| self.journal.clean(batch)).collect();
        let n_elements = clean.iter().map(|c| c.n_elements).sum::<usize>().max(1) as f64;
        let weights = self.analyser.weights();
        let weight = |&i: &usize| {
            let entries: Vec<&Entry> = (0..n).filter_map(|batch| self.journal.entry(batch, i)).collect();
            let planned = weights[i];
            AnalysedWeight {
                name: planned.name.clone(),
                readers: planned.readers.clone(),
                shape: planned.shape.clone(),
                bytes: planned.bytes,
                choices: choices(&self.asked.schemes, &entries, n_elements),
            }
        };
        Analysis {
            version: VERSION,
            software: crate::SOFTWARE.to_owned(),
            model: self.model.name.clone(),
            inputs: AnalysisInputs {
                source: self.inputs.source,
                samples: self.inputs.n_samples,
                digest: self.inputs.digest.clone(),
            },
            schemes: names(&self.asked.schemes),
            measured: names(&self.asked.measured),
            signal: clean.iter().map(|c| c.squares).sum::<f64>() / n_elements,
            peak: clean.iter().fold(0.0, |most, c| most.max(c.peak)),
            shard: self.asked.shard.filter(|shard| shard.of > 1),
            weights: self.mine.iter().map(weight).collect(),
        }
    }
}

fn names(schemes: &[Named]) -> Vec<String> {
    schemes.iter().map(ToString::to_string).collect()
}

/// The ways to store a weight that fit it, from the fewest bytes on.
fn choices(schemes: &[Named], entries: &[&Entry], n_elements: f64) -> Vec<Choice> {
    let mut fit: Vec<(Named, Measured)> = Vec::new();
    for (place, &scheme) in schemes.iter().enumerate() {
        let of = |entry: &&Entry| entry.get(place).and_then(|result| result.as_ref().ok()).copied();
        let all: Vec<Measured> = entries.iter().filter_map(of).collect();
        let Some(first) = all.first().filter(|_| all.len() == entries.len()) else { continue };
        let output = all.iter().map(|m| m.output).sum::<Option<f64>>();
        fit.push((scheme, Measured { bytes: first.bytes, local: all.iter().map(|m| m.local).sum(), output }));
    }
    let errors: Vec<Errors> = fit.iter().map(|(_, m)| Errors { local: m.local, output: m.output }).collect();
    let losses = estimate(&errors).unwrap_or_default();
    let choice = |((scheme, measured), loss): (&(Named, Measured), &f64)| Choice {
        scheme: scheme.to_string(),
        bytes: measured.bytes,
        loss: loss / n_elements,
        measured: measured.output.is_some(),
    };
    let mut choices: Vec<Choice> = fit.iter().zip(&losses).map(choice).collect();
    choices.sort_by(|a, b| a.bytes.cmp(&b.bytes).then_with(|| a.scheme.cmp(&b.scheme)));
    choices
}

fn stopped(error: SensitivityError) -> Error {
    if error.is_stopped() { Error::Stopped } else { error.into() }
}
