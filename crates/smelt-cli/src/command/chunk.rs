//! `smelt chunk`: a package in parts that run one after another.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use smelt::{ChunkForm, ChunkReport, Chunking, Cut};

use crate::cli::{ChunkArgs, existing};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &ChunkArgs, report: &Report) -> Result<ExitCode> {
    let chunking = Chunking {
        cut: args.max_bytes.map_or(Cut::Parts(usize::from(args.n)), Cut::MaxBytes),
        form: if args.pipeline { ChunkForm::Pipeline } else { ChunkForm::Parts },
        check: args.check,
        existing: existing(args.force),
    };
    let cut = chunking.run(&args.package, &args.output, &mut Screen::new(report))?;
    tell(args, &cut, report);
    report.json(&cut)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &ChunkArgs, cut: &ChunkReport, report: &Report) {
    let mut table = Table::new(2, "<>>>");
    for p in &cut.packages {
        let name = Path::new(&p.path).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        table.row([name, bytes(p.bytes), count(p.inputs.len(), "input"), count(p.outputs.len(), "output")]);
    }
    report.text(table);
    let verb = if cut.packages.len() == 1 { "computes" } else { "compute" };
    let checked = if args.check { format!(", which {verb} what the whole does") } else { String::new() };
    let elapsed = seconds(Duration::from_secs_f64(cut.seconds));
    report.line(format_args!("wrote {}{checked}, in {elapsed}", count(cut.packages.len(), "package")));
}
