//! `cargo xtask bench NAME`: runs a benchmark on this machine, appends its result as one JSON line to
//! `benches/record/NAME.jsonl`, and prints that line.
//!
//! These are whole-program measurements; micro-benchmarks are criterion suites in `benches`.

mod build;
mod compress;
mod convert;
mod peer;
mod process;
mod record;

use anyhow::{Result, ensure};

use self::record::Metrics;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    name: Name,
    /// Measured runs, after the warm-up.
    #[arg(long)]
    runs: Option<usize>,
    /// Measure other tools on the same work in the same run; needs Python, and the network once.
    #[arg(long)]
    peers: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// `smelt convert` of a real-shape SD 1.5 checkpoint against `cp` of the same files.
    Convert,
    /// `smelt compress` of the UNet of that checkpoint against `cp` of its weights; with `--peers` also coremltools.
    Compress,
    /// Release build of `smelt` from an empty target folder.
    Build,
}

/// Measures, records and prints.
#[allow(clippy::print_stdout, reason = "the result is the output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(!arguments.peers || matches!(arguments.name, Name::Compress), "only compress has peers");
    let (name, metrics): (_, Metrics) = match arguments.name {
        Name::Convert => ("convert", convert::run(arguments.runs.unwrap_or(5))?),
        Name::Compress => ("compress", compress::run(arguments.runs.unwrap_or(5), arguments.peers)?),
        Name::Build => ("build", build::run(arguments.runs.unwrap_or(1))?),
    };
    println!("{}", record::append(name, &metrics)?);
    Ok(())
}
