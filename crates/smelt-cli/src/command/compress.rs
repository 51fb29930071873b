//! `smelt compress`: smaller weights, in one package or in a directory of them.
//!
//! Everything that can be refused is refused before any work begins.

mod directory;
mod method;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mil_compress::{Outcome, Plan};
use mlpackage::{Existing, Model};
use safe_files::{OutputFile, OutputFolder, Outputs, Tree, is_stream};
use sd_convert::compress::{Writing as How, write_compressed_model};
use serde::Serialize;

use super::open_package;
use crate::cli::CompressArgs;
use crate::interrupt::{Writing, interrupted};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;
use smelt::owner::Owner;
use smelt::weights_report::{Format, Summary as WeightSummary};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    packages: Vec<Package>,
    /// Files and packages that were copied as they are.
    copied: Vec<String>,
    seconds: f64,
}

#[derive(Serialize)]
struct Package {
    path: String,
    bytes_before: u64,
    bytes: u64,
    #[serde(flatten)]
    weights: WeightSummary,
    /// Where the report is, if one was asked for.
    report: Option<String>,
    seconds: f64,
}

/// A package to be compressed.
struct Task {
    input: PathBuf,
    output: PathBuf,
    model: Model,
    bytes: u64,
    plans: Vec<Plan>,
    report: Option<OutputFile>,
    /// The package of another size, compressed before, whose weights are the same.
    first: Option<PathBuf>,
}

pub(super) fn run(args: &CompressArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    let config = method::config(args)?;
    let format = args.report.as_deref().map(report_format).transpose()?;
    let is_package = |path: &Path| path.extension().is_some_and(|e| e == "mlpackage" || e == "mlmodel");
    let (inputs, copies) = if is_package(&args.package) || !args.package.is_dir() {
        if !is_package(&args.output) && !is_stream(&args.output) {
            bail!("{} must end with .mlpackage, as the package that it will be", args.output.display());
        }
        (vec![(args.package.clone(), args.output.clone())], Vec::new())
    } else {
        directory::look(&args.package, &args.output)?
    };
    let (files, mut folders, reports) = name_files(args, &inputs, &copies)?;
    let targets: Vec<PathBuf> = inputs.iter().map(|(_, output)| output.clone()).collect();
    let mut tasks = Vec::new();
    for ((input, output), report) in inputs.into_iter().zip(reports) {
        refuse_existing(&output, args.force)?;
        let package = open_package(&input)?;
        let n_bytes =
            package.model_bytes() + package.weight_files().values().map(mlpackage::BlobFile::n_bytes).sum::<u64>();
        let model = package.into_model();
        let plan = |program| -> Result<Plan> {
            mil::validate(program).map_err(sd_convert::ConvertError::InvalidProgram)?;
            Ok(Plan::new(program, &config)?)
        };
        let plans = model.programs().into_iter().map(plan).collect::<Result<Vec<_>>>();
        let plans = plans.with_context(|| format!("cannot compress {}", input.display()))?;
        if plans.iter().all(Plan::is_empty) {
            bail!("{} has no weight to compress: {}", input.display(), method::why_nothing(&config, &plans));
        }
        let first = directory::first_of(&output).filter(|first| targets.contains(first));
        tasks.push(Task { input, output, model, bytes: n_bytes, plans, report, first });
    }
    copies.iter().try_for_each(|(_, to)| refuse_existing(to, args.force))?;
    report.make_way(&files)?;
    report.replaced(&directory::changes(&copies));
    folders.iter_mut().try_for_each(safe_files::OutputFolder::make)?;
    let mut packages = Vec::new();
    for task in &tasks {
        let package = compress(task, args, format, report)?;
        report.text(row(&package));
        if let Some(path) = &package.report {
            report.line(format_args!("    report: {path}"));
        }
        packages.push(package);
    }
    let copied = directory::copy(&copies)?;
    tell(args, report, packages, copied, begin)?;
    Ok(ExitCode::SUCCESS)
}

/// The form that a name says; what has no name takes the form for programs.
fn report_format(path: &Path) -> Result<Format> {
    if is_stream(path) && path.extension().is_none() { Ok(Format::Json) } else { Ok(Format::of(path)?) }
}

/// Names everything that is read and written: the folders to be made, and the reports in the order of the inputs.
fn name_files(
    args: &CompressArgs,
    inputs: &[(PathBuf, PathBuf)],
    copies: &[(Tree, PathBuf)],
) -> Result<(Outputs, Vec<OutputFolder>, Vec<Option<OutputFile>>)> {
    let mut files = Outputs::new();
    let is_directory = args.package.is_dir() && inputs.iter().all(|(input, _)| *input != args.package);
    inputs.iter().try_for_each(|(input, _)| files.reads("the package", input))?;
    copies.iter().try_for_each(|(tree, _)| files.reads("the copied", tree.root()))?;
    args.config.iter().try_for_each(|path| files.reads("--config", path))?;
    let folder = if is_directory { args.output.clone() } else { crate::file::parent(&args.output) };
    if is_directory {
        Owner::of_folder(&args.package)?.check_may_enter(&args.output)?;
    }
    let mut folders = vec![files.folder("-o", &folder)?];
    inputs.iter().try_for_each(|(_, output)| files.directory("-o", output))?;
    for (tree, to) in copies {
        if tree.root().is_dir() { files.directory("-o", to)? } else { files.file("-o", to).map(drop)? }
    }
    let Some(path) = &args.report else { return Ok((files, folders, vec![None; inputs.len()])) };
    if is_directory && inputs.len() > 1 && is_stream(path) {
        bail!("--report {} takes one report, and there are {}; give the name of a file", path.display(), inputs.len());
    }
    if !is_stream(path) {
        folders.push(files.folder("--report", &crate::file::parent(path))?);
    }
    let several = is_directory && !is_stream(path);
    let paths = inputs.iter().map(|(input, _)| directory::report_path(path, input, several));
    let reports = paths.map(|path| Ok(Some(files.file("--report", &path)?))).collect::<Result<_>>()?;
    Ok((files, folders, reports))
}

fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if !force && path.exists() {
        bail!("{} is there already; replace it with --force", path.display());
    }
    Ok(())
}

/// Compresses one package; when the user stops, nothing of it is left.
fn compress(task: &Task, args: &CompressArgs, format: Option<Format>, report: &Report) -> Result<Package> {
    let begin = Instant::now();
    let outcome: Outcome;
    let written = {
        let _writing = Writing::begin();
        let label = task.input.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let total = task.plans.iter().map(Plan::n_elements).sum();
        let bar = report.work_bar(label.rsplit("version_").next().unwrap_or(&label), total);
        let mut progress = |at: sd_convert::compress::Progress| {
            bar.set_position(at.done);
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let existing = if args.force { Existing::Replace } else { Existing::Refuse };
        let written;
        (written, outcome) = write_compressed_model(
            &task.output,
            &task.model,
            &task.plans,
            How { existing, measure: args.report.is_some(), first: task.first.as_deref() },
            &mut progress,
        )?;
        bar.finish_and_clear();
        written
    };
    let title = task.output.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let n_bytes = written.model_bytes + written.weight_bytes;
    let weights = WeightSummary::new(&title, task.bytes, n_bytes, &outcome);
    let mut report_path = None;
    if let (Some(file), Some(format)) = (&task.report, format) {
        weights.write(file, format, &mut Screen::new(report))?;
        report_path = Some(file.to_string());
    }
    method::tell_left(&outcome.kept, report);
    Ok(Package {
        path: task.output.display().to_string(),
        bytes_before: task.bytes,
        bytes: n_bytes,
        weights,
        report: report_path,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

fn row(package: &Package) -> Table {
    let mut table = Table::new(2, "<>>>>");
    let name = Path::new(&package.path).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let w = &package.weights;
    table.row([
        name.rsplit("version_").next().unwrap_or(&name).to_owned(),
        format!("{:>8} to {:>8}", bytes(package.bytes_before), bytes(package.bytes)),
        format!("{:>5.2} bits a weight", w.average_bits),
        count(w.n_compressed, "weight"),
        seconds(std::time::Duration::from_secs_f64(package.seconds)),
    ]);
    table
}

fn tell(
    args: &CompressArgs,
    report: &Report,
    packages: Vec<Package>,
    copied: Vec<String>,
    begin: Instant,
) -> Result<()> {
    let elapsed = begin.elapsed();
    let (before, after) = packages.iter().fold((0, 0), |(b, a), p| (b + p.bytes_before, a + p.bytes));
    let copies = if copied.is_empty() { String::new() } else { format!(", {} copied", count(copied.len(), "item")) };
    report.line(format_args!(
        "wrote {}: {} instead of {}{copies}, in {}",
        args.output.display(),
        bytes(after),
        bytes(before),
        seconds(elapsed)
    ));
    report.json(&Summary { packages, copied, seconds: elapsed.as_secs_f64() })
}
