//! `smelt completions`: what a shell needs to complete commands and options.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use serde::Serialize;

use crate::cli::{Cli, CompletionsArgs};
use crate::report::Report;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    shell: String,
    script: String,
}

pub(super) fn run(args: &CompletionsArgs, report: &Report) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "smelt", &mut script);
    let script = String::from_utf8(script)?;
    report.text(&script);
    report.json(&Summary { shell: args.shell.to_string(), script })?;
    Ok(ExitCode::SUCCESS)
}
