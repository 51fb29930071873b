//! A package in parts that run one after another.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mlpackage::{Body, Existing, Model, Stage, Written, write_pipeline};
use safe_files::Outputs;
use sd_convert::verify::random_inputs;
use sd_convert::{Chunk, chunk};
use sd_engines::{MilEngine, Options};
use sd_spec::{Bundled, Role, bundle};

use crate::error::{Context, Result, refuse};
use crate::package::{guarded, inputs_of, open_package, refuse_existing, write_or_link};
use crate::report::{ChunkReport, Part};
use crate::units::bytes;
use crate::watch::{self, Watch};

/// How a package is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunking {
    /// How many parts.
    pub cut: Cut,
    /// What is written.
    pub form: ChunkForm,
    /// Run the whole and the parts on random inputs, and compare them bit for bit before anything is written.
    pub check: bool,
    /// What happens to packages that are there already.
    pub existing: Existing,
}

/// Into how many parts a package is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// So many.
    Parts(usize),
    /// As few as there can be of which none takes more bytes than this, model and weights together.
    MaxBytes(u64),
}

/// What becomes of the parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChunkForm {
    /// A package each: `NAME_chunk1.mlpackage`, `NAME_chunk2.mlpackage` and so on.
    #[default]
    Parts,
    /// One package `NAME_chunked_pipeline.mlpackage`, whose parts run as one model.
    Pipeline,
}

impl Default for Chunking {
    fn default() -> Self {
        Self { cut: Cut::Parts(2), form: ChunkForm::Parts, check: false, existing: Existing::Refuse }
    }
}

impl Chunking {
    /// Cuts a package, and writes the parts to a folder.
    ///
    /// # Errors
    /// When the package cannot be cut so, when something is there already, and when the watcher breaks off.
    pub fn run(&self, package: &Path, to: &Path, watch: &mut dyn Watch) -> Result<ChunkReport> {
        let begin = Instant::now();
        let path = package;
        let package = open_package(path)?;
        let stem = path.file_stem().and_then(|s| s.to_str()).context("the package has no name")?.to_owned();
        let cannot = || format!("cannot split {}", path.display());
        let chunks = match self.cut {
            Cut::Parts(n) => chunk(package.model(), n).with_context(cannot)?,
            Cut::MaxBytes(limit) => small_chunks(package.model(), limit).with_context(cannot)?,
        };
        let targets = match self.form {
            ChunkForm::Parts => targets(to, &stem, chunks.len()),
            ChunkForm::Pipeline => vec![to.join(format!("{stem}_chunked_pipeline.mlpackage"))],
        };
        refuse_existing(targets.iter().map(PathBuf::as_path), self.existing)?;
        let mut outputs = Outputs::new();
        outputs.reads("the package", path)?;
        let mut folder = outputs.folder("-o", to)?;
        targets.iter().try_for_each(|target| outputs.directory("-o", target))?;
        let n_functions = package.model().program().map_or(0, |p| p.functions.len());
        if self.form == ChunkForm::Pipeline && n_functions > 1 {
            refuse!("{} has {n_functions} functions, and a pipeline has one: leave --pipeline out", path.display());
        }
        if self.check {
            watch::begin(watch, "comparing")?;
            check(package.model(), &chunks)?;
            watch::end(watch)?;
        }
        folder.make()?;
        let packages = match self.form {
            ChunkForm::Parts => write(&chunks, &targets, &[], self.existing, watch)?,
            ChunkForm::Pipeline => vec![write_merged(package.model(), &chunks, &targets[0], self.existing, watch)?],
        };
        Ok(ChunkReport {
            package: path.display().to_string(),
            packages,
            identical: self.check.then_some(true),
            seconds: begin.elapsed().as_secs_f64(),
        })
    }
}

/// The fewest chunks of which none takes more than so many bytes.
fn small_chunks(model: &Model, limit: u64) -> Result<Vec<Chunk>> {
    let size = |chunk: &Chunk| -> Result<u64> {
        let written = mlpackage::planned(mil::validate(&chunk.program)?, &chunk.description)?;
        Ok(written.model_bytes + written.weight_bytes)
    };
    let sizes = |chunks: &[Chunk]| chunks.iter().map(size).collect::<Result<Vec<u64>>>();
    let mut chunks = chunk(model, 1)?;
    let mut largest = sizes(&chunks)?.into_iter().max().unwrap_or_default();
    // Parts are never smaller than an even share of the whole.
    let mut n = usize::try_from(largest.div_ceil(limit.max(1))).unwrap_or(usize::MAX);
    while largest > limit {
        n = n.max(chunks.len() + 1);
        chunks = match chunk(model, n) {
            Ok(more) => more,
            Err(error) => {
                let (most, least) = (bytes(limit), bytes(largest));
                return Err(error).with_context(|| {
                    format!("not into parts of at most {most}: of {}, the largest takes {least}", chunks.len())
                });
            }
        };
        largest = sizes(&chunks)?.into_iter().max().unwrap_or_default();
    }
    Ok(chunks)
}

/// Where the parts go.
pub(crate) fn targets(output: &Path, stem: &str, n: usize) -> Vec<PathBuf> {
    // In a bundle parts have names of their own.
    let is_bundled = Role::ALL
        .into_iter()
        .map(|role| role.spec().package)
        .any(|package| package.bundled == Bundled::WholeOrChunks && package.swift == stem);
    let name = |i| if is_bundled { bundle::chunk(stem, i) } else { format!("{stem}_chunk{i}") };
    (1..=n).map(|i| output.join(format!("{}.mlpackage", name(i)))).collect()
}

/// Runs the whole and the parts on random inputs, each function.
fn check(model: &Model, chunks: &[Chunk]) -> Result<()> {
    let Some(program) = model.program() else { refuse!("a pipeline has its parts already") };
    for (name, function) in &program.functions {
        let whole = MilEngine::from_function(model, name, Options::default()).context("cannot run the package")?;
        let mut engines = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            let part = Model {
                specification_version: model.specification_version,
                description: chunk.description.clone(),
                body: Body::Program(chunk.program.clone()),
            };
            let engine = MilEngine::from_function(&part, name, Options::default());
            engines.push((format!("chunk {}", i + 1), engine.with_context(|| format!("cannot run chunk {}", i + 1))?));
        }
        let parts = MilEngine::chain(engines).context("the chunks do not fit together")?;
        compare(&whole, &parts, function)?;
    }
    Ok(())
}

fn compare(whole: &MilEngine, parts: &MilEngine, function: &mil::Function) -> Result<()> {
    let drawn = random_inputs(&inputs_of(whole), Some(function), 0)?;
    let (expected, actual) = (whole.run_once(&drawn)?, parts.run_once(&drawn)?);
    for (name, tensor) in &expected {
        let same =
            actual.get(name).is_some_and(|other| other.shape() == tensor.shape() && other.bytes() == tensor.bytes());
        if !same {
            refuse!("output {name} of the parts is not that of the whole; nothing was written. Please report this");
        }
    }
    Ok(())
}

/// Writes each part as a package; each may share the weight file of the one in the same place of `first`.
pub(crate) fn write(
    chunks: &[Chunk],
    targets: &[PathBuf],
    first: &[PathBuf],
    existing: Existing,
    watch: &mut dyn Watch,
) -> Result<Vec<Part>> {
    let mut packages = Vec::new();
    for (i, (chunk, path)) in chunks.iter().zip(targets).enumerate() {
        let written = guarded(&format!("chunk {}", i + 1), watch, |progress| {
            let program = mil::validate(&chunk.program)?;
            let first = first.get(i).map(PathBuf::as_path);
            write_or_link(path, first, program, &chunk.description, existing, progress)
        })?;
        packages.push(part(path, &chunk.description, written));
    }
    Ok(packages)
}

fn write_merged(
    model: &Model,
    chunks: &[Chunk],
    path: &Path,
    existing: Existing,
    watch: &mut dyn Watch,
) -> Result<Part> {
    let names: Vec<String> = (1..=chunks.len()).map(|i| format!("chunk{i}")).collect();
    let mut stages = Vec::new();
    for (name, chunk) in names.iter().zip(chunks) {
        let program = mil::validate(&chunk.program)?;
        stages.push(Stage { name, program, description: &chunk.description });
    }
    let written = guarded("pipeline", watch, |progress| {
        Ok(write_pipeline(path, &stages, &model.description, existing, progress)?)
    })?;
    Ok(part(path, &model.description, written))
}

fn part(path: &Path, description: &mlpackage::Description, written: Written) -> Part {
    let interface = description.main();
    let names = |features: Option<&Vec<mlpackage::Feature>>| {
        features.map_or_else(Vec::new, |f| f.iter().map(|f| f.name.clone()).collect())
    };
    Part {
        path: path.display().to_string(),
        bytes: written.model_bytes + written.weight_bytes,
        inputs: names(interface.map(|i| &i.inputs)),
        outputs: names(interface.map(|i| &i.outputs)),
    }
}
