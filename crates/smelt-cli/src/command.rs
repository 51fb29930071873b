//! The commands, one file each.

mod analyse;
mod bench;
mod calibrate;
mod chunk;
mod compare;
mod compile;
mod completions;
mod compress;
mod convert;
mod doctor;
mod download;
mod generate;
mod inspect;
mod man;
mod metadata;
mod quantize;
mod recipe;
mod report;
mod run;
mod serve;
mod tokens;
mod upscale;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Command;
use crate::engine_args::EngineArgs;
use crate::report::Report;

/// Runs a command; the code is what the program exits with.
pub(crate) fn run(command: &Command, report: &Report) -> Result<ExitCode> {
    if let Some(warning) = engine_of(command).and_then(|engine| engine.spec().warning()) {
        report.warn(warning);
    }
    match command {
        Command::Convert(args) => convert::run(args, report),
        Command::Download(args) => download::run(args, report),
        Command::Generate(args) => generate::run(args, report),
        Command::Run(args) => run::run(args, report),
        Command::Inspect(args) => inspect::run(args, report),
        Command::Chunk(args) => chunk::run(args, report),
        Command::Compile(args) => compile::run(args, report),
        Command::Calibrate(args) => calibrate::run(args, report),
        Command::Analyse(args) => analyse::run(args, report),
        Command::Compress(args) => compress::run(args, report),
        Command::Quantize(args) => quantize::run(args, report),
        Command::Recipe(args) => recipe::run(args, report),
        Command::Bench(args) => bench::run(args, report),
        Command::Verify(args) => verify::run(args, report),
        Command::Report(args) => report::run(args, report),
        Command::Compare(args) => compare::run(args, report),
        Command::Metadata(args) => metadata::run(args, report),
        Command::Tokens(args) => tokens::run(args, report),
        Command::Upscale(args) => upscale::run(args, report),
        Command::Serve(args) => serve::run(args, report),
        Command::App(args) => serve::app(args, report),
        Command::Doctor(args) => doctor::run(args, report),
        Command::Completions(args) => completions::run(args, report),
        Command::Man(args) => man::run(args, report),
    }
}

/// What a command executes models with, if it does.
const fn engine_of(command: &Command) -> Option<&EngineArgs> {
    match command {
        Command::Generate(args) => Some(&args.engine),
        Command::Calibrate(args) => Some(&args.engine),
        Command::Analyse(args) => Some(&args.engine),
        Command::Report(args) => Some(&args.engine),
        Command::Run(args) => Some(&args.engine),
        Command::Bench(args) => Some(&args.engine),
        Command::Verify(args) => Some(&args.engine),
        Command::Upscale(args) => Some(&args.engine),
        Command::Serve(args) => Some(&args.served.engine),
        Command::App(args) => Some(&args.served.engine),
        _ => None,
    }
}
