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
use sd_convert::verify::Input;
use sd_engines::MilEngine;
use sd_runtime::Engine;

use crate::cli::Command;
use crate::interrupt::{Writing, interrupted};
use crate::report::Report;

/// Runs a command; the code is what the program exits with.
pub(crate) fn run(command: &Command, report: &Report) -> Result<ExitCode> {
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

/// A model's inputs, as random ones are drawn for them.
fn inputs_of(engine: &MilEngine) -> Vec<Input> {
    let features = engine.signature().inputs.iter();
    features.map(|f| Input { name: f.name.clone(), dtype: f.dtype, shape: f.shape.clone() }).collect()
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

/// Opens a package, with its path in the error, and a hint for paths that are something else.
fn open_package(path: &Path) -> Result<Package> {
    if path.extension().is_some_and(|e| e == "mlmodelc") {
        bail!("{} is a compiled model, which only Core ML can run; give the .mlpackage", path.display());
    }
    if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    Package::open(path).with_context(|| format!("cannot open {}", path.display()))
}
