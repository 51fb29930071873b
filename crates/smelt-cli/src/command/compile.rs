//! `smelt compile`: packages as Core ML loads them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use smelt::{CompileReport, Compiling};

use crate::cli::{CompileArgs, existing};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &CompileArgs, report: &Report) -> Result<ExitCode> {
    let compiling = Compiling { existing: existing(args.force) };
    let compiled = compiling.run(&args.package, &args.output, &mut Screen::new(report))?;
    tell(args, &compiled, report);
    report.json(&compiled)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(args: &CompileArgs, compiled: &CompileReport, report: &Report) {
    let mut table = Table::new(2, "<><");
    for model in &compiled.models {
        let name = std::path::Path::new(&model.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let weights = if model.is_shared { "weights are the package's own file" } else { "" };
        table.row([name, bytes(model.bytes), weights.to_owned()]);
    }
    report.text(table);
    let n_copied = compiled.copied.len();
    let copies = if n_copied == 0 { String::new() } else { format!(", {} copied", count(n_copied, "item")) };
    report.line(format_args!(
        "compiled {} to {}{copies}, in {}",
        count(compiled.models.len(), "package"),
        args.output.display(),
        seconds(Duration::from_secs_f64(compiled.seconds))
    ));
    if let Some(note) = smelt::compiled_here() {
        report.aside(format_args!("note: {note}"));
    }
}
