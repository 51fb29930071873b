//! The commands, one file each.

mod bench;
mod chunk;
mod compress;
mod convert;
mod generate;
mod inspect;
mod run;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mlpackage::Package;

use crate::cli::Command;
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
    }
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
