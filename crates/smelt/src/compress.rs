//! Smaller weights, in one package or in a directory of them.
//!
//! Everything that can be refused is refused before any work begins.

mod calibration;
mod choosing;
mod directory;
mod left;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use calibration::Batches;
pub use calibration::{CalibratedBy, SAMPLES_OF_LARGE};
use host_tensor::Stop;
use mil_compress::{Calibration, Config, Outcome, Plan, Scheme};
use mlpackage::{Existing, Package, Written};
use safe_files::{OutputFile, OutputFolder, Outputs, Tree, is_stream};
use sd_convert::compress::{Writing as How, write_compressed_model};

use crate::error::{Context, Result, refuse};
use crate::open::Opened;
use crate::owner::Owner;
use crate::package::{guarded, is_named_as_compiled, is_named_as_package, open_package, refuse_existing, stem};
use crate::recipe::{Chooser, Choosing};
use crate::report::{CalibrationUse, CompressedPackage, CompressionReport};
use crate::watch::{self, Event, Progress, Unit, Watch, Writing, write_file};
use crate::weights_report::{Format, Summary};

/// How weights are compressed.
#[derive(Debug, Clone)]
pub struct Compression {
    /// Which weights, and how.
    pub config: Config,
    /// Choose a scheme for each weight, so that a goal is met; the configuration then says only which weights count.
    pub choosing: Option<Choosing>,
    /// The file that the configuration was read from; no output may replace it.
    pub config_file: Option<PathBuf>,
    /// Codes are chosen by what a denoiser is given.
    pub calibration: Option<CalibratedBy>,
    /// Write a report with the loss of every weight: .html, .svg or .json.
    pub report: Option<PathBuf>,
    /// What happens to what is there already.
    pub existing: Existing,
}

impl Compression {
    /// A compression that leaves what is there already.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.roots = ["unet", "text_encoder", "vae", "model"].map(str::to_owned).to_vec();
        Self { config, choosing: None, config_file: None, calibration: None, report: None, existing: Existing::Refuse }
    }

    /// Text encoder and UNet with palettes of so many bits, by k-means: what Apple's converter does.
    #[must_use]
    pub fn palettes(bits: u8) -> Self {
        Self::new(Config::palettes(bits))
    }

    /// Weights as they are: compiled models become packages, as which they can be cut, compressed and read by others.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Config::default())
    }

    /// The configuration, which with a goal takes in all weights that may be compressed.
    fn whole_config(&self) -> Result<Config> {
        if self.choosing.is_none() {
            return Ok(self.config.clone());
        }
        if !keeps_everything(&self.config) {
            refuse!(
                "a goal chooses the schemes by itself; leave the method out, and say with --schemes which it may take"
            );
        }
        // Any scheme that every opset has and every shape takes.
        Ok(Config { global: Scheme::palettes(8), ..self.config.clone() })
    }

    /// Decides what a compression will do, of a package or of a directory of packages; nothing is written.
    ///
    /// # Errors
    /// For everything that cannot be done: no weight that is compressed, methods that the system lacks, outputs that
    /// are there already, places that cannot be written.
    pub fn plan(&self, from: &Path, to: &Path) -> Result<CompressionPlan> {
        CompressionPlan::new(self, from, to)
    }
}

impl Opened {
    /// Compresses a folder of packages into another one, which then draws as this one does.
    ///
    /// # Errors
    /// For checkpoints, which are converted first; else as [`Compression::plan`] and [`CompressionPlan::run`].
    pub fn compress(
        &self,
        to: impl AsRef<Path>,
        compression: &Compression,
        watch: &mut dyn Watch,
    ) -> Result<CompressionReport> {
        compression.plan(self.source().path().unwrap_or_else(|| self.root()), to.as_ref())?.run(watch)
    }
}

/// A package to be compressed.
#[derive(Debug)]
struct Task {
    input: PathBuf,
    output: PathBuf,
    package: Package,
    config: Config,
    /// One for each program; all are empty for a compiled model that keeps its weights.
    plans: Vec<Plan>,
    /// What its inputs are in real runs.
    batches: Option<Batches>,
    report: Option<OutputFile>,
    /// The package of another size, compressed before, whose weights are the same.
    first: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug)]
pub struct CompressionPlan {
    tasks: Vec<Task>,
    copies: Vec<(Tree, PathBuf)>,
    files: Named,
    format: Option<Format>,
    /// What chooses the schemes, and for which tasks.
    chooser: Option<(Chooser, Vec<usize>)>,
    existing: Existing,
    begin: Instant,
}

/// What is read and written.
#[derive(Debug)]
struct Named {
    outputs: Outputs,
    /// To be made.
    folders: Vec<OutputFolder>,
    /// In the order of the inputs.
    reports: Vec<Option<OutputFile>>,
}

impl CompressionPlan {
    fn new(asked: &Compression, from: &Path, to: &Path) -> Result<Self> {
        let begin = Instant::now();
        let format = asked.report.as_deref().map(report_format).transpose()?;
        let is_model = |path: &Path| path.extension().is_some_and(|e| e == "mlmodel");
        let is_directory = from.is_dir() && !is_named_as_package(from) && !is_model(from);
        let (inputs, copies) = if is_directory {
            directory::look(from, to)?
        } else {
            if is_named_as_compiled(to) || !(is_named_as_package(to) || is_model(to) || is_stream(to)) {
                refuse!("{} must end with .mlpackage, as the package that it will be", to.display());
            }
            (vec![(from.to_owned(), to.to_owned())], Vec::new())
        };
        let mut files = name_files(asked, (from, to), &inputs, &copies)?;
        let targets: Vec<PathBuf> = inputs.iter().map(|(_, output)| output.clone()).collect();
        let (mut tasks, mut chosen_for) = (Vec::new(), Vec::new());
        let asked_config = asked.whole_config()?;
        let by = asked.calibration.as_ref();
        let data = by.map(|by| by.read(&asked_config)).transpose()?;
        for ((input, output), report) in inputs.into_iter().zip(std::mem::take(&mut files.reports)) {
            refuse_existing([output.as_path()], asked.existing)?;
            let first = directory::first_of(&output).filter(|first| targets.contains(first));
            let is_kept = is_directory && !directory::is_compressed(&input);
            let config = if is_kept { Config::default() } else { asked_config.clone() };
            chosen_for.extend((!is_kept).then_some(tasks.len()));
            tasks.push(Task::new(config, input, output, report, first)?);
        }
        refuse_existing(copies.iter().map(|(_, to)| to.as_path()), asked.existing)?;
        if let (Some(by), Some(data)) = (by, &data) {
            calibration::calibrate(&mut tasks, by, data)?;
        }
        let chooser = asked.choosing.as_ref().map(|choosing| choosing::chooser(choosing, &tasks, &chosen_for, &copies));
        let chooser = chooser.transpose()?.map(|chooser| (chooser, chosen_for));
        Ok(Self { tasks, copies, files, format, chooser, existing: asked.existing, begin })
    }

    /// What is read and written, for a client that has outputs of its own.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.files.outputs
    }

    /// Compresses and writes.
    ///
    /// # Errors
    /// For a disk that is full, and a watcher that breaks off.
    pub fn run(mut self, watch: &mut dyn Watch) -> Result<CompressionReport> {
        watch::warn_replaced(watch, &directory::changes(&self.copies))?;
        let choice = match self.chooser.take() {
            Some((chooser, tasks)) => Some(choosing::choose(chooser, &mut self.tasks, &tasks, watch)?),
            None => None,
        };
        self.files.folders.iter_mut().try_for_each(OutputFolder::make)?;
        let mut packages = Vec::new();
        for task in &self.tasks {
            let package = task.run(self.existing, self.format, watch)?;
            watch::tell(watch, Event::Compressed(&package))?;
            packages.push(package);
        }
        let copied = directory::copy(&self.copies, watch)?;
        Ok(CompressionReport { packages, copied, choice, seconds: self.begin.elapsed().as_secs_f64() })
    }
}

/// Whether a configuration asks for nothing.
fn keeps_everything(config: &Config) -> bool {
    config.global == Scheme::Keep && config.names.is_empty() && config.op_types.values().all(|s| *s == Scheme::Keep)
}

/// The form that a name says; what has no name takes the form for programs.
fn report_format(path: &Path) -> Result<Format> {
    if is_stream(path) && path.extension().is_none() { Ok(Format::Json) } else { Format::of(path) }
}

/// Names everything that is read and written: the folders to be made, and the reports in the order of the inputs.
fn name_files(
    asked: &Compression,
    (from, to): (&Path, &Path),
    inputs: &[(PathBuf, PathBuf)],
    copies: &[(Tree, PathBuf)],
) -> Result<Named> {
    let mut files = Outputs::new();
    let is_directory = from.is_dir() && inputs.iter().all(|(input, _)| input != from);
    inputs.iter().try_for_each(|(input, _)| files.reads("the package", input))?;
    copies.iter().try_for_each(|(tree, _)| files.reads("the copied", tree.root()))?;
    asked.config_file.iter().try_for_each(|path| files.reads("--config", path))?;
    asked.calibration.iter().try_for_each(|by| files.reads("--calibration", &by.file))?;
    let analysis = asked.choosing.as_ref().and_then(|choosing| choosing.analysis.as_ref());
    analysis.map_or(Ok(()), |path| files.reads("--analysis", path))?;
    let folder = if is_directory { to.to_owned() } else { parent(to) };
    if is_directory {
        Owner::of_folder(from)?.check_may_enter(to)?;
    }
    let mut folders = vec![files.folder("-o", &folder)?];
    let targets = inputs.iter().map(|(_, target)| target).chain(copies.iter().map(|(_, target)| target));
    let below: BTreeSet<PathBuf> = targets.map(|target| parent(target)).filter(|below| *below != folder).collect();
    for below in &below {
        folders.push(files.folder("-o", below)?);
    }
    inputs.iter().try_for_each(|(_, output)| files.directory("-o", output))?;
    for (tree, copy) in copies {
        if tree.root().is_dir() { files.directory("-o", copy)? } else { files.file("-o", copy).map(drop)? }
    }
    let Some(path) = &asked.report else {
        return Ok(Named { outputs: files, folders, reports: vec![None; inputs.len()] });
    };
    if is_directory && inputs.len() > 1 && is_stream(path) {
        refuse!(
            "--report {} takes one report, and there are {}; give the name of a file",
            path.display(),
            inputs.len()
        );
    }
    if !is_stream(path) {
        folders.push(files.folder("--report", &parent(path))?);
    }
    let several = is_directory && !is_stream(path);
    let paths = inputs.iter().map(|(input, _)| directory::report_path(path, input, several));
    let reports = paths.map(|path| Ok(Some(files.file("--report", &path)?))).collect::<Result<Vec<_>>>()?;
    Ok(Named { outputs: files, folders, reports })
}

/// The directory that a file is to be written to.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Task {
    /// Reads a package, and decides what becomes of its weights.
    fn new(
        config: Config,
        input: PathBuf,
        output: PathBuf,
        report: Option<OutputFile>,
        first: Option<PathBuf>,
    ) -> Result<Self> {
        let package = open_package(&input)?;
        let plan = |program| -> Result<Plan> {
            mil::validate(program).map_err(sd_convert::ConvertError::InvalidProgram)?;
            Ok(Plan::new(program, &config)?)
        };
        let plans = package.model().programs().into_iter().map(plan).collect::<Result<Vec<_>>>();
        let plans = plans.with_context(|| format!("cannot compress {}", input.display()))?;
        // A compiled model that keeps its weights becomes a package all the same.
        let is_kept = package.is_compiled() && keeps_everything(&config);
        if plans.iter().all(Plan::is_empty) && !is_kept {
            refuse!("{} has no weight to compress: {}", input.display(), left::why_nothing(&config, &plans));
        }
        Ok(Self { input, output, package, config, plans, batches: None, report, first })
    }

    /// What the package is called where it is told of.
    fn label(&self) -> String {
        let stem = stem(&self.input);
        stem.rsplit("version_").next().unwrap_or(&stem).to_owned()
    }

    /// Compresses the package; when the watcher breaks off, nothing of it is left.
    fn run(&self, existing: Existing, format: Option<Format>, watch: &mut dyn Watch) -> Result<CompressedPackage> {
        let begin = Instant::now();
        let (written, outcome) = if self.plans.iter().all(Plan::is_empty) {
            let written = guarded("packing", watch, |progress| {
                Ok(mlpackage::repack(&self.package, &self.output, existing, progress)?)
            })?;
            (written, Outcome::default())
        } else {
            self.write(existing, watch).with_context(|| format!("cannot compress {}", self.input.display()))?
        };
        let calibration = self.batches.as_ref().map(|batches| CalibrationUse {
            samples: batches.n_samples(),
            weights: outcome.compressed.iter().filter(|weight| weight.is_calibrated).count(),
        });
        if calibration.is_some() {
            calibration::tell(&outcome, &self.input, watch)?;
        }
        let (bytes_before, n_bytes) = (self.package.n_bytes(), written.model_bytes + written.weight_bytes);
        let weights = Summary::new(&stem(&self.output), bytes_before, n_bytes, &outcome);
        let mut report = None;
        if let (Some(file), Some(format)) = (&self.report, format) {
            let text = weights.text(format)?;
            write_file(file, watch, |out| Ok(out.write_all(text.as_bytes())?))?;
            report = Some(file.to_string());
        }
        left::tell(&outcome.kept, watch)?;
        Ok(CompressedPackage {
            path: self.output.display().to_string(),
            bytes_before,
            bytes: n_bytes,
            weights,
            calibration,
            report,
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    /// Compresses the weights, and writes the package.
    fn write(&self, existing: Existing, watch: &mut dyn Watch) -> Result<(Written, Outcome)> {
        let what = &self.label();
        let total = self.plans.iter().map(Plan::n_elements).sum();
        let stop = Stop::new();
        let calibrator = match (&self.batches, self.plans.as_slice()) {
            (Some(batches), [plan]) => Some(batches.calibrator(&self.package, plan, &stop)?),
            _ => None,
        };
        let mut writing = Writing::begin(watch);
        let mut progress = |at: sd_convert::compress::Progress| {
            let unit = Unit::Elements;
            let flow = writing.watch().event(Event::Progress(Progress { what, done: at.done, total, unit }));
            if flow.is_break() {
                stop.set();
            }
            flow
        };
        let calibration = calibrator.as_ref().map(|calibrator| calibrator as &dyn Calibration);
        let (measure, first) = (self.report.is_some(), self.first.as_deref());
        let how = How { existing, measure, first, calibration };
        Ok(write_compressed_model(&self.output, self.package.model(), &self.plans, how, &mut progress)?)
    }
}
