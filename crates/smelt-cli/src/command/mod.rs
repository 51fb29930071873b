//! The commands, one file each.

mod bench;
mod chunk;
mod compare;
mod completions;
mod compress;
mod convert;
mod doctor;
mod generate;
mod inspect;
mod man;
mod run;
mod verify;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mlpackage::{Package, Written};
use sd_checkpoint::CheckpointError;
use sd_convert::place::{Place, Wanted};
use sd_convert::verify::Input;
use sd_engines::MilEngine;
use sd_runtime::Engine;

use crate::cli::Command;
use crate::engine_args::EngineArgs;
use crate::interrupt::{Writing, interrupted};
use crate::report::Report;

/// Runs a command; the code is what the program exits with.
pub(crate) fn run(command: &Command, report: &Report) -> Result<ExitCode> {
    if let Some(warning) = engine_of(command).and_then(EngineArgs::warning) {
        report.warn(warning);
    }
    match command {
        Command::Convert(args) => convert::run(args, report),
        Command::Generate(args) => generate::run(args, report),
        Command::Run(args) => run::run(args, report),
        Command::Inspect(args) => inspect::run(args, report),
        Command::Chunk(args) => chunk::run(args, report),
        Command::Compress(args) => compress::run(args, report),
        Command::Bench(args) => bench::run(args, report),
        Command::Verify(args) => verify::run(args, report),
        Command::Compare(args) => compare::run(args, report),
        Command::Doctor(args) => doctor::run(args, report),
        Command::Completions(args) => completions::run(args, report),
        Command::Man(args) => man::run(args, report),
    }
}

/// What a command executes models with, if it does.
const fn engine_of(command: &Command) -> Option<&EngineArgs> {
    match command {
        Command::Generate(args) => Some(&args.engine),
        Command::Run(args) => Some(&args.engine),
        Command::Bench(args) => Some(&args.engine),
        Command::Verify(args) => Some(&args.engine),
        _ => None,
    }
}

/// A model's inputs, as random ones are drawn for them.
fn inputs_of(engine: &MilEngine) -> Vec<Input> {
    let features = engine.signature().inputs.iter();
    features
        .map(|f| Input { name: f.name.clone(), dtype: f.dtype, shape: f.shape.dims().unwrap_or_default().to_vec() })
        .collect()
}

type OnProgress<'p> = &'p mut dyn FnMut(mlpackage::Progress) -> ControlFlow<()>;

/// Writes a package with a bar; when the user stops, nothing of it is left.
fn guarded(label: &str, report: &Report, write: impl FnOnce(OnProgress<'_>) -> Result<Written>) -> Result<Written> {
    let _writing = Writing::begin();
    let bar = report.byte_bar(label, 0);
    let written = write(&mut |at| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.written_bytes);
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    Ok(written)
}

/// Opens a package; a path that is something else is named for what it is.
fn open_package(path: &Path) -> Result<Package> {
    let is_package = path.join(mlpackage::MANIFEST_FILE).is_file();
    let is_model_file = path.is_file() && path.extension().is_some_and(|e| e == "mlmodel");
    if !is_package && !is_model_file {
        bail!(not_wanted(path, Wanted::Package));
    }
    Package::open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// What a path is that is not what was wanted, and what to do.
fn not_wanted(path: &Path, wanted: Wanted) -> CheckpointError {
    let Place { what, next } = Place::of(path, wanted);
    CheckpointError::Place { path: path.to_owned(), what, next }
}
