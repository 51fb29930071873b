//! `smelt download`: a model of the Hub into its cache.

use std::process::ExitCode;

use anyhow::Result;
use smelt::Download;

use crate::cli::DownloadArgs;
use crate::report::{Report, bytes, count};
use crate::screen::Screen;

pub(super) fn run(args: &DownloadArgs, report: &Report) -> Result<ExitCode> {
    let download = Download {
        roles: args.components.clone(),
        variant: args.variant.clone(),
        all: args.all,
        offline: args.offline,
    };
    let downloaded = download.run(&args.source, &mut Screen::new(report))?;
    let files = count(downloaded.files.len(), "file");
    report.aside(format_args!(
        "{}: {files}, {}, of which {} were fetched",
        args.source,
        bytes(downloaded.bytes),
        bytes(downloaded.fetched_bytes)
    ));
    // Alone on standard output, so that another command can take it.
    report.line(downloaded.path.display());
    report.json(&downloaded)?;
    Ok(ExitCode::SUCCESS)
}
