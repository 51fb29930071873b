//! `smelt chunk`: a package in parts that run one after another.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mlpackage::{Body, Existing, Model, Stage, Written, write_pipeline};
use safe_files::Outputs;
use sd_convert::verify::random_inputs;
use sd_convert::{Chunk, chunk};
use sd_engines::{MilEngine, Options};
use serde::Serialize;

use super::convert::write_or_link;
use super::{guarded, inputs_of, open_package};
use crate::cli::ChunkArgs;
use crate::report::{Report, Table, bytes, count, seconds};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    /// The parts in order, or the pipeline of them.
    packages: Vec<Part>,
    /// Whether the parts computed what the whole does; null when it was not asked for.
    identical: Option<bool>,
    seconds: f64,
}

/// A package that was written.
#[derive(Serialize)]
pub(super) struct Part {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Names of what it takes.
    pub(super) inputs: Vec<String>,
    /// Names of what it gives.
    pub(super) outputs: Vec<String>,
}

pub(super) fn run(args: &ChunkArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    let package = open_package(&args.package)?;
    let stem = args.package.file_stem().and_then(|s| s.to_str()).context("the package has no name")?.to_owned();
    let targets = targets(&args.output, &stem, usize::from(args.n), args.pipeline);
    refuse_existing(&targets, args.force)?;
    let cannot = || format!("cannot split {}", args.package.display());
    let chunks = chunk(package.model(), usize::from(args.n)).with_context(cannot)?;
    let mut outputs = Outputs::new();
    outputs.reads("the package", &args.package)?;
    let mut folder = outputs.folder("-o", &args.output)?;
    targets.iter().try_for_each(|target| outputs.directory("-o", target))?;
    let n_functions = package.model().program().map_or(0, |p| p.functions.len());
    if args.pipeline && n_functions > 1 {
        bail!("{} has {n_functions} functions, and a pipeline has one: leave --pipeline out", args.package.display());
    }
    if args.check {
        let spinner = report.spinner("comparing");
        check(package.model(), &chunks)?;
        spinner.finish_and_clear();
    }
    folder.make()?;
    let packages = if args.pipeline {
        vec![write_merged(package.model(), &chunks, &targets[0], args.force, report)?]
    } else {
        write(&chunks, &targets, &[], existing(args.force), report)?
    };
    tell(args, report, packages, begin.elapsed())?;
    Ok(ExitCode::SUCCESS)
}

/// Where the parts go, or the pipeline of them.
pub(super) fn targets(output: &Path, stem: &str, n: usize, pipeline: bool) -> Vec<PathBuf> {
    match pipeline {
        true => vec![output.join(format!("{stem}_chunked_pipeline.mlpackage"))],
        false => (1..=n).map(|i| output.join(format!("{stem}_chunk{i}.mlpackage"))).collect(),
    }
}

fn refuse_existing(targets: &[PathBuf], force: bool) -> Result<()> {
    match targets.iter().find(|t| !force && t.exists()) {
        Some(target) => bail!("{} is there already; replace it with --force", target.display()),
        None => Ok(()),
    }
}

/// Runs the whole and the parts on random inputs, each function.
fn check(model: &Model, chunks: &[Chunk]) -> Result<()> {
    let Some(program) = model.program() else { bail!("a pipeline has its parts already") };
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
            bail!("output {name} of the parts is not that of the whole; nothing was written. Please report this");
        }
    }
    Ok(())
}

/// Writes each part as a package; each may share the weight file of the one in the same place of `first`.
pub(super) fn write(
    chunks: &[Chunk],
    targets: &[PathBuf],
    first: &[PathBuf],
    existing: Existing,
    report: &Report,
) -> Result<Vec<Part>> {
    let mut packages = Vec::new();
    for (i, (chunk, path)) in chunks.iter().zip(targets).enumerate() {
        let written = guarded(&format!("chunk {}", i + 1), report, |progress| {
            let program = mil::validate(&chunk.program).map_err(anyhow::Error::new)?;
            let first = first.get(i).map(PathBuf::as_path);
            write_or_link(path, first, program, &chunk.description, existing, progress)
        })?;
        packages.push(part(path, &chunk.description, written));
    }
    Ok(packages)
}

fn write_merged(model: &Model, chunks: &[Chunk], path: &Path, force: bool, report: &Report) -> Result<Part> {
    let names: Vec<String> = (1..=chunks.len()).map(|i| format!("chunk{i}")).collect();
    let mut stages = Vec::new();
    for (name, chunk) in names.iter().zip(chunks) {
        let program = mil::validate(&chunk.program).map_err(anyhow::Error::new)?;
        stages.push(Stage { name, program, description: &chunk.description });
    }
    let written = guarded("pipeline", report, |progress| {
        Ok(write_pipeline(path, &stages, &model.description, existing(force), progress)?)
    })?;
    Ok(part(path, &model.description, written))
}

const fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Refuse }
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

fn tell(args: &ChunkArgs, report: &Report, packages: Vec<Part>, elapsed: Duration) -> Result<()> {
    let mut table = Table::new(2, "<>>>");
    for p in &packages {
        let name = Path::new(&p.path).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        table.row([name, bytes(p.bytes), count(p.inputs.len(), "input"), count(p.outputs.len(), "output")]);
    }
    report.text(table);
    let verb = if packages.len() == 1 { "computes" } else { "compute" };
    let checked = if args.check { format!(", which {verb} what the whole does") } else { String::new() };
    report.line(format_args!("wrote {}{checked}, in {}", count(packages.len(), "package"), seconds(elapsed)));
    report.json(&Summary {
        package: args.package.display().to_string(),
        packages,
        identical: args.check.then_some(true),
        seconds: elapsed.as_secs_f64(),
    })
}
