//! `smelt compress`: smaller weights, in one package or in a directory of them.

mod method;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use smelt::{CalibratedBy, ChoiceReport, CompressedPackage, Compression, CompressionReport, Event, Watch};

use crate::cli::{CompressArgs, existing};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &CompressArgs, report: &Report) -> Result<ExitCode> {
    let compression = Compression {
        choosing: method::choosing(&args.goal)?,
        config_file: args.config.clone(),
        calibration: args.calibration.clone().map(|file| CalibratedBy { file, samples: args.samples }),
        report: args.report.clone(),
        existing: existing(args.force),
        ..Compression::new(method::config(args)?)
    };
    let plan = compression.plan(&args.package, &args.output)?;
    report.make_way(plan.outputs())?;
    let compressed = plan.run(&mut Rows { screen: Screen::new(report), report })?;
    tell(args, &compressed, report);
    report.json(&compressed)?;
    Ok(ExitCode::SUCCESS)
}

/// The screen, with a line for each package.
struct Rows<'r> {
    screen: Screen<'r>,
    report: &'r Report,
}

impl Watch for Rows<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Compressed(package) = event {
            self.report.text(row(package));
            if let Some(by) = package.calibration {
                let (weights, samples) = (count(by.weights, "weight"), count(by.samples, "sample"));
                self.report.line(format_args!("    codes of {weights} chosen by {samples}"));
            }
            if let Some(path) = &package.report {
                self.report.line(format_args!("    report: {path}"));
            }
        }
        self.screen.event(event)
    }
}

fn row(package: &CompressedPackage) -> Table {
    let mut table = Table::new(2, "<>>>>");
    let name = Path::new(&package.path).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let w = &package.weights;
    table.row([
        name.rsplit("version_").next().unwrap_or(&name).to_owned(),
        format!("{:>8} to {:>8}", bytes(package.bytes_before), bytes(package.bytes)),
        format!("{:>5.2} bits a weight", w.average_bits),
        count(w.n_compressed, "weight"),
        seconds(Duration::from_secs_f64(package.seconds)),
    ]);
    table
}

fn tell(args: &CompressArgs, compressed: &CompressionReport, report: &Report) {
    let CompressionReport { packages, copied, seconds: elapsed, .. } = compressed;
    if let Some(choice) = &compressed.choice {
        tell_choice(choice, report);
    }
    let (before, after) = packages.iter().fold((0, 0), |(b, a), p| (b + p.bytes_before, a + p.bytes));
    let copies = if copied.is_empty() { String::new() } else { format!(", {} copied", count(copied.len(), "item")) };
    report.line(format_args!(
        "wrote {}: {} instead of {}{copies}, in {}",
        args.output.display(),
        bytes(after),
        bytes(before),
        seconds(Duration::from_secs_f64(*elapsed))
    ));
}

fn tell_choice(choice: &ChoiceReport, report: &Report) {
    let chosen = choice.schemes.iter().map(|(scheme, n)| format!("{scheme} for {n}")).collect::<Vec<_>>().join(", ");
    let loss = match choice.psnr_db {
        Some(db) => format!("{db:.1} dB at the output, by the analysis"),
        None if choice.estimated => format!("noise to signal {:.4} over all weights, estimated", choice.loss),
        None => "nothing is lost, by the analysis".to_owned(),
    };
    report.line(format_args!("chose {chosen}; {loss}"));
}
