//! `smelt report`: what a compression changed, on one page.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use safe_files::{OutputFile, Outputs, is_stream};
use smelt::{PipelineOptions, PromptSet, Recommended, Request, SideBySide, SideBySideReport, demo};

use super::generate::texts::prompts;
use crate::cli::{ReportArgs, existing};
use crate::file;
use crate::report::{Report, Table, bytes, count, decibels, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &ReportArgs, report: &Report) -> Result<ExitCode> {
    let output = place(args, report)?;
    let request = request(args)?;
    let compared = SideBySide {
        prompts: texts(args)?,
        options: PipelineOptions {
            engine: args.engine.spec(),
            sizes: (&args.size).into(),
            scheduler: request.scheduler,
            steps: request.steps,
            safety_check: false,
            cache: file::cache_folder(),
            ..PipelineOptions::default()
        },
        request,
        existing: existing(args.force),
    };
    let found = compared.run((&args.before, &args.after), &output, &mut Screen::new(report))?;
    tell(&output, &found, report);
    report.json(&found)?;
    Ok(ExitCode::SUCCESS)
}

/// Names the page, which replaces nothing that is read.
fn place(args: &ReportArgs, report: &Report) -> Result<OutputFile> {
    let mut outputs = Outputs::new();
    let output = outputs.file("-o", &args.output)?;
    args.prompts.iter().filter(|path| !is_stream(path)).try_for_each(|path| outputs.reads("--prompts", path))?;
    for dir in [&args.before, &args.after] {
        smelt::files(dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    report.make_way(&outputs)?;
    Ok(output)
}

/// Whether the packages are those of the model in the box, which draws names of emoji alone.
fn is_demo(args: &ReportArgs) -> bool {
    let names = smelt::packages(&args.after).unwrap_or_default();
    names.iter().any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(demo::NAME)))
}

fn texts(args: &ReportArgs) -> Result<Vec<String>> {
    let mut texts = match &args.prompts {
        Some(path) => prompts(path)?,
        None if is_demo(args) => PromptSet::HeldOut.demo(),
        None => PromptSet::HeldOut.general(),
    };
    texts.truncate(args.count.map_or(usize::MAX, Into::into));
    Ok(texts)
}

/// How pictures are drawn: as is usual, as the model recommends, as was typed.
fn request(args: &ReportArgs) -> Result<Request> {
    let own = if is_demo(args) { demo::GUIDANCE } else { Request::default().guidance };
    let mut request = Request { guidance: own, seed: args.seed, ..Request::default() };
    if let Some(recommended) = smelt::open(args.after.clone())?.recommended()? {
        recommended.apply(&mut request);
    }
    let ReportArgs { steps, guidance, scheduler, .. } = *args;
    Recommended { steps, guidance, scheduler, negative_prompt: None }.apply(&mut request);
    Ok(request)
}

fn tell(output: &OutputFile, found: &SideBySideReport, report: &Report) {
    let decibels = |db: Option<f64>| decibels(db.unwrap_or(f64::INFINITY));
    let mut table = Table::new(2, "<>>>");
    for component in &found.components {
        table.row([
            component.role.clone(),
            format!("{:>8} to {:>8}", bytes(component.bytes[0]), bytes(component.bytes[1])),
            format!("{:.2} bits a weight", component.bits[1]),
            decibels(component.psnr_db),
        ]);
    }
    report.text(table);
    report.line(format_args!(
        "wrote {output}: {}, {}, {} instead of {}, in {}",
        count(found.pictures.len(), "pair"),
        decibels(found.psnr_db),
        bytes(found.bytes[1]),
        bytes(found.bytes[0]),
        seconds(Duration::from_secs_f64(found.seconds))
    ));
}
