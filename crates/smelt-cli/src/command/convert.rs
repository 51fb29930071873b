//! `smelt convert`: a checkpoint to a directory of packages.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use smelt::{
    Batch, BundleForm, Conversion, ConversionReport, ConvertedPackage, Event, Opening, Part, Recommended, Watch,
};

use crate::cli::{ConvertArgs, existing};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &ConvertArgs, report: &Report) -> Result<ExitCode> {
    let mut rows = Rows { screen: Screen::new(report), report };
    let (opening, conversion) = (Opening::from(&args.opening), conversion(args)?);
    Conversion::check_output(&args.output)?;
    opening.fetch([&args.checkpoint], &args.components, &mut rows)?;
    opening.fetch(conversion.controlnets.iter().chain(&conversion.refiner), &[], &mut rows)?;
    let converted = opening.open_checkpoint(args.checkpoint.clone())?.convert(&args.output, &conversion, &mut rows)?;
    tell(&converted, report);
    report.json(&converted)?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed, as the library takes it.
fn conversion(args: &ConvertArgs) -> Result<Conversion> {
    Ok(Conversion {
        roles: args.components.clone(),
        attention: args.attention,
        sizes: (&args.sizes).into(),
        text_length: args.text_length,
        unet_support_controlnet: args.unet_support_controlnet,
        controlnets: args.controlnets.clone(),
        refiner: args.refiner.clone(),
        unet_batches: unet_batches(args)?,
        target: args.target,
        precision: args.precision,
        model_version: args.model_version.clone(),
        chunk_unet: args.chunk_unet,
        quantize_nbits: args.quantize_nbits,
        recommended: recommended(args)?,
        bundle: args.bundle,
        zip: args.zip,
        existing: existing(args.force),
    })
}

/// What is to be recommended; the last of several for one setting counts.
fn recommended(args: &ConvertArgs) -> Result<Recommended> {
    let mut recommended = Recommended::default();
    args.recommended.iter().try_for_each(|(key, value)| recommended.set(key, value))?;
    Ok(recommended)
}

/// How many samples at a time, by either option.
fn unet_batches(args: &ConvertArgs) -> Result<Vec<Batch>> {
    match (args.unet_batch_one, &args.unet_batches[..]) {
        (false, batches) => Ok(batches.to_vec()),
        (true, [] | [Batch::One]) => Ok(vec![Batch::One]),
        (true, others) => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            bail!(
                "--unet-batch-one is --unet-batches 1, and --unet-batches {} contradicts it: leave one of them out",
                others.join(",")
            )
        }
    }
}

/// The screen, with a line for each package.
struct Rows<'r> {
    screen: Screen<'r>,
    report: &'r Report,
}

impl Watch for Rows<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Converted(package) => self.report.text(row(package)),
            Event::Chunked(part) => self.report.line(chunk_line(part)),
            _ => {}
        }
        self.screen.event(event)
    }
}

fn row(package: &ConvertedPackage) -> Table {
    let mut table = Table::new(2, "<>>><");
    let time = Duration::from_secs_f64(package.convert_s + package.write_s);
    let check = Duration::from_secs_f64(package.check_s);
    let check = if check.is_zero() { String::new() } else { format!("and {} to check half precision", seconds(check)) };
    table.row([
        format!("{:<16}", package.label),
        format!("{:>16}", count(package.n_operations, "operation")),
        format!("{:>8}", bytes(package.bytes)),
        format!("{:>12}", seconds(time)),
        match (package.is_shared, functions(package)) {
            (true, _) => "and the first one's weights".to_owned(),
            (false, None) => check,
            (false, Some(functions)) => format!("for {functions}{}{check}", if check.is_empty() { "" } else { "; " }),
        },
    ]);
    table
}

/// What the functions of a package of several are for.
fn functions(package: &ConvertedPackage) -> Option<String> {
    let batches: Vec<String> = package.batches.iter().map(|n| format!("batch {n}")).collect();
    let several = [&package.latent_sizes, &batches].into_iter().filter(|list| list.len() > 1);
    let words: Vec<String> = several.map(|list| list.join(", ")).collect();
    (!words.is_empty()).then(|| words.join(", each for "))
}

fn chunk_line(part: &Part) -> String {
    let name = Path::new(&part.path).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let label = name.rsplit_once('_').map_or(name.as_str(), |(_, label)| label);
    format!("    {label:<14}  {:>26}", bytes(part.bytes))
}

fn tell(converted: &ConversionReport, report: &Report) {
    for word in &converted.words {
        let tokens = count(word.vectors, "vector");
        report.line(format_args!("prompts may say {} ({tokens} of {})", word.word, word.file.display()));
    }
    let what = match &converted.bundle {
        Some(bundle) if bundle.form == BundleForm::Compiled => "model",
        _ => "package",
    };
    report.line(format_args!(
        "wrote {} to {}: {} in {}",
        count(converted.packages.len(), what),
        converted.output,
        bytes(converted.bytes),
        seconds(Duration::from_secs_f64(converted.seconds))
    ));
    if let Some(bundle) = &converted.bundle {
        if let Some(zip) = &bundle.zip {
            report.line(format_args!("wrote {}: {}", zip.path, bytes(zip.bytes)));
        }
        bundle.unproven.iter().for_each(|words| report.line(words));
        if let Some(compile) = &bundle.compile {
            report.line(format_args!("on a Mac with Xcode, this compiles them:\n  {compile}"));
        }
    }
}
