//! `smelt analyse`: what each way to store each weight costs at the outputs of a model.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use safe_files::{OutputFile, Outputs};
use smelt::compression::Named;
use smelt::{Analysing, Event, InputSource, Opening, Source, Watch, merge_analyses};

use super::generate::pace;
use crate::cli::{AnalyseArgs, Measure, existing};
use crate::interrupt;
use crate::report::{Report, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &AnalyseArgs, report: &Report) -> Result<ExitCode> {
    let output = place(args, report)?;
    let Some(model) = &args.model else { return merge(args, &output, report) };
    let opening = Opening::from(&args.opening);
    opening.fetch([model], &args.component.into_iter().collect::<Vec<_>>(), &mut Screen::new(report))?;
    let analysing = Analysing {
        component: args.component,
        opening,
        schemes: args.schemes.clone(),
        measured: measured(args),
        only: args.only.clone(),
        skip: args.skip.clone(),
        min_elements: args.min_elements,
        calibration: args.calibration.clone(),
        samples: args.samples.map(Into::into),
        seed: args.seed,
        shard: args.shard,
        engine: args.engine.spec(),
        existing: existing(args.force),
    };
    let mut screen = Paced { screen: Screen::new(report), begin: None };
    let made = analysing.run(model, &output, &interrupt::stop(), &mut screen)?;
    let resumed = if made.resumed > 0 { format!(" ({} of an earlier run)", made.resumed) } else { String::new() };
    let inputs = if made.inputs == InputSource::Random { "random " } else { "" };
    report.line(format_args!(
        "wrote {output}: {}{resumed} in {}, {}{}, in {}",
        count(made.weights, "weight"),
        count(made.schemes.len(), "way"),
        inputs,
        count(made.samples, "sample"),
        seconds(Duration::from_secs_f64(made.seconds))
    ));
    report.json(&made)?;
    Ok(ExitCode::SUCCESS)
}

fn merge(args: &AnalyseArgs, output: &OutputFile, report: &Report) -> Result<ExitCode> {
    let merged = merge_analyses(&args.merge, output, existing(args.force), &mut Screen::new(report))?;
    let (shards, weights) = (count(merged.shards, "shard"), count(merged.weights, "weight"));
    report.line(format_args!("wrote {output}: {shards} of {} with {weights}", merged.model));
    report.json(&merged)?;
    Ok(ExitCode::SUCCESS)
}

/// Names the file, which replaces nothing that is read.
fn place(args: &AnalyseArgs, report: &Report) -> Result<OutputFile> {
    let mut outputs = Outputs::new();
    let output = outputs.file("-o", &args.output)?;
    args.calibration.iter().try_for_each(|path| outputs.reads("--calibration", path))?;
    args.merge.iter().try_for_each(|path| outputs.reads("--merge", path))?;
    for dir in args.model.iter().filter_map(Source::path) {
        smelt::files(dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    report.make_way(&outputs)?;
    Ok(output)
}

/// What was asked for, or the scheme that says most of the others.
fn measured(args: &AnalyseArgs) -> Vec<Named> {
    let named = |measure: &Measure| match measure {
        Measure::All => args.schemes.clone(),
        Measure::Scheme(named) => vec![*named],
    };
    let usual = "4".parse().ok().filter(|four| args.schemes.contains(four));
    match &args.measure[..] {
        [] => usual.or_else(|| args.schemes.get(args.schemes.len() / 2).copied()).into_iter().collect(),
        asked => asked.iter().flat_map(named).collect(),
    }
}

/// The screen, whose bar tells how long it will still take.
struct Paced<'r> {
    screen: Screen<'r>,
    /// When measuring began, and how much was done then.
    begin: Option<(Instant, u64)>,
}

impl Watch for Paced<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        let progress = if let Event::Progress(at) = &event { Some((at.done, at.total)) } else { None };
        self.screen.event(event)?;
        if let Some((done, total)) = progress {
            let (begin, before) = *self.begin.get_or_insert((Instant::now(), done));
            if done > before {
                let left = begin.elapsed().mul_f64((total - done) as f64 / (done - before) as f64);
                self.screen.note("measuring", format!(", {} left", pace::left(left)));
            }
        }
        ControlFlow::Continue(())
    }
}
