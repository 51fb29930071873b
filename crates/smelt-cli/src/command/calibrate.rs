//! `smelt calibrate`: what a denoiser is given while pictures are drawn, as one file.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use safe_files::{OutputFile, Outputs, is_stream};
use smelt::{
    Calibration, CalibrationReport, Event, Opened, Opening, PipelineOptions, PromptSet, Recommended, Request, Source,
    Unit, Watch, demo,
};

use super::generate::pace::{self, Pace};
use super::generate::texts::prompts;
use crate::cli::{CalibrateArgs, existing};
use crate::file;
use crate::interrupt;
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;

pub(super) fn run(args: &CalibrateArgs, report: &Report) -> Result<ExitCode> {
    let mut calibration = Calibration {
        count: args.count.into(),
        samples: args.samples.map(Into::into),
        request: request(args, None)?,
        existing: existing(args.force),
        ..Calibration::new(texts(args)?)
    };
    let output = place(args, report)?;
    calibration.check(&output)?;
    let opened = open(args, &calibration, report)?;
    calibration.request = request(args, Some(&opened))?;
    let options = PipelineOptions {
        engine: args.engine.spec(),
        sizes: (&args.size).into(),
        scheduler: calibration.request.scheduler.take(),
        steps: calibration.request.steps,
        tokenizer: args.tokenizer.clone(),
        precision: args.precision,
        safety_check: false,
        cache: file::cache_folder(),
        ..PipelineOptions::default()
    };
    let mut screen = Paced::new(report);
    let written = opened.calibrate(&calibration, &options, &output, &interrupt::stop(), &mut screen)?;
    tell(&output, &written, report);
    report.json(&written)?;
    Ok(ExitCode::SUCCESS)
}

/// The prompts that were asked for, or those that are there.
fn texts(args: &CalibrateArgs) -> Result<Vec<String>> {
    let set = if args.held_out { PromptSet::HeldOut } else { PromptSet::Calibration };
    match (&args.prompts, &args.model) {
        (Some(path), _) => prompts(path),
        (None, Some(_)) => Ok(set.general()),
        (None, None) => Ok(set.demo()),
    }
}

/// Names the file, which replaces nothing that is read.
fn place(args: &CalibrateArgs, report: &Report) -> Result<OutputFile> {
    let mut outputs = Outputs::new();
    let output = file::binary(&mut outputs, "-o", "the calibration data", &args.output)?;
    let is_file = |path: &&Path| !is_stream(path);
    args.prompts.as_deref().filter(is_file).map_or(Ok(()), |path| outputs.reads("--prompts", path))?;
    for dir in args.model.iter().filter_map(Source::path).chain(args.tokenizer.as_deref()) {
        smelt::files(dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    report.make_way(&outputs)?;
    Ok(output)
}

/// How pictures are drawn: as is usual, as the model recommends, as was typed.
fn request(args: &CalibrateArgs, opened: Option<&Opened>) -> Result<Request> {
    let own = if args.model.is_none() { demo::GUIDANCE } else { Request::default().guidance };
    let mut request = Request { guidance: own, seed: args.seed, ..Request::default() };
    if let Some(recommended) = opened.map_or(Ok(None), Opened::recommended)? {
        recommended.apply(&mut request);
    }
    let CalibrateArgs { steps, guidance, scheduler, .. } = *args;
    Recommended { steps, guidance, scheduler, negative_prompt: args.negative_prompt.clone() }.apply(&mut request);
    Ok(request)
}

/// Finds the model, and fetches it where it is the Hub's.
fn open(args: &CalibrateArgs, calibration: &Calibration, report: &Report) -> Result<Opened> {
    let opening = Opening::from(&args.opening);
    let model = match &args.model {
        Some(model) => model.clone(),
        None => demo::directory(file::cache_folder())?.into(),
    };
    args.engine.spec().check_here()?;
    opening.fetch([&model], &[], &mut Screen::new(report))?;
    let prompts = calibration.prompts.iter();
    let requests: Vec<Request> =
        prompts.map(|prompt| Request { prompt: prompt.clone(), ..calibration.request.clone() }).collect();
    Ok(opening.open_for_prompts(&model, &requests)?)
}

/// The screen, whose bar tells how quick steps are and how long it will still take.
struct Paced<'r> {
    screen: Screen<'r>,
    begin: Instant,
    pace: Pace,
}

impl<'r> Paced<'r> {
    fn new(report: &'r Report) -> Self {
        Self { screen: Screen::new(report), begin: Instant::now(), pace: Pace::default() }
    }
}

impl Watch for Paced<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        let step = match &event {
            Event::Progress(at) if at.unit == Unit::Steps => Some((at.done, at.total)),
            _ => None,
        };
        self.screen.event(event)?;
        match step {
            // Loading is no step.
            Some((0, _)) => self.begin = Instant::now(),
            Some((done, total)) => {
                self.pace.step(self.begin.elapsed());
                let left = self.pace.left(usize::try_from(total - done).unwrap_or(usize::MAX), 0);
                if let (Some(rate), Some(left)) = (self.pace.rate(), left) {
                    self.screen.note("denoising", format!(", {}, {} left", pace::it_per_s(rate), pace::left(left)));
                }
            }
            None => {}
        }
        ControlFlow::Continue(())
    }
}

fn tell(output: &OutputFile, written: &CalibrationReport, report: &Report) {
    let CalibrationReport { samples, pictures, evaluations, seconds: elapsed, .. } = written;
    report.line(format_args!(
        "wrote {output}: {} of {} with {} each, {}, in {}",
        count(*samples, "sample"),
        count(*pictures, "picture"),
        count(*evaluations, "evaluation"),
        bytes(written.bytes),
        seconds(Duration::from_secs_f64(*elapsed))
    ));
    let mut table = Table::new(2, "<<<");
    for input in &written.inputs {
        table.row([input.name.clone(), input.dtype.to_owned(), format!("{:?}", input.shape)]);
    }
    report.text(table);
}
