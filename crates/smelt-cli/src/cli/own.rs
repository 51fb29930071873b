//! Commands about pictures that are there already, this machine, and this program.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::examples;
use crate::view::ViewArgs;

/// `smelt compare`.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPARE)]
pub(crate) struct CompareArgs {
    /// PNG, JPEG or WebP files; the first is what the others are compared with.
    #[arg(required = true, value_name = "PICTURE")]
    pub(crate) pictures: Vec<PathBuf>,
    /// Least peak signal-to-noise ratio of every picture; below it the exit code is 1.
    #[arg(long, value_name = "DB")]
    pub(crate) min_psnr: Option<f64>,
    /// Captions of the grid, separated by commas, one for each picture; default: the names of the files.
    #[arg(long, value_name = "TEXT,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) captions: Vec<String>,
    /// Add to each caption its ratio to the first picture.
    #[arg(long)]
    pub(crate) psnr: bool,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
}

/// `smelt metadata`.
#[derive(Debug, Args)]
#[command(after_help = examples::METADATA)]
pub(crate) struct MetadataArgs {
    /// PNG, JPEG or WebP files, of whatever tool.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `smelt doctor`.
#[derive(Debug, Args)]
#[command(after_help = examples::DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Leave out the self-test, which computes for a moment.
    #[arg(long)]
    pub(crate) quick: bool,
}

/// `smelt completions`.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

/// `smelt man`.
#[derive(Debug, Args)]
#[command(after_help = examples::MAN)]
pub(crate) struct ManArgs {
    /// Write smelt.1 and a page for each command to this directory, which is made if it is not there.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
