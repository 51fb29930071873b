//! `smelt`: arguments → plan → run.
//!
//! The work is done by the crates below; this one reads arguments, shows progress, prints results, and turns errors into one message and an exit code: 0, 1 for failure, 2 for arguments that cannot be understood, 130 when interrupted.

mod cli;
mod command;
mod engine_args;
mod file;
mod interrupt;
mod preview;
mod report;
mod screen;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::read(std::env::args_os())
        .unwrap_or_else(|error| cli::with_example(error, std::env::args_os()).exit());
    let report = report::Report::new(cli.json);
    let result = interrupt::install().and_then(|()| command::run(&cli.command, &report));
    match result {
        Ok(code) => code,
        Err(error) => {
            report.error(&error);
            ExitCode::FAILURE
        }
    }
}
