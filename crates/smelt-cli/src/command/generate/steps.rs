//! Whoever looks on while pictures are drawn: the bar, lines of JSON, how long steps take, and files that are written as
//! pictures are finished, which a Ctrl-C keeps.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use safe_files::OutputFile;
use smelt::{Drawing, Event, Picture, Progress, Step, Unit, Varied, Watch};

use super::events::{At, Line};
use super::pace::{self, Pace, it_per_s};
use super::previews::{PreviewFile, Previews};
use super::save::{Saved, save, tell};
use crate::interrupt::{LastAct, Writing};
use crate::report::{Report, count, json_line, last_words, seconds};
use crate::screen::Screen;

/// Names of pictures that are said at most when the rest is not drawn.
const MAX_NAMED: usize = 5;

/// Looks on, and writes what is finished.
pub(super) struct Steps<'r> {
    report: &'r Report,
    screen: Screen<'r>,
    files: &'r [OutputFile],
    saved: Arc<Mutex<Vec<Saved>>>,
    series: Series,
    /// Why a picture could not be written, which ended the drawing.
    failed: Option<anyhow::Error>,
    waiting: Waiting,
    begin: Instant,
    pace: Pace,
    previews: Option<Previews>,
    _last_act: LastAct,
}

/// Where a series of requests stands.
struct Series {
    /// Pictures of requests before this one.
    n_before: usize,
    /// Steps of these.
    n_steps_before: usize,
    /// Pictures and steps of this one, as it asks for them.
    asked: [usize; 2],
    /// Steps of this one and those behind it, as they are asked for.
    n_steps_left: usize,
    /// Whether each picture's prompt is told.
    has_prompts: bool,
}

impl Series {
    fn new(series: &[Varied]) -> Self {
        let has_prompts = series.windows(2).any(|two| two[0].request.prompt != two[1].request.prompt);
        let n_steps_left = series.iter().map(n_steps).sum();
        Self { n_before: 0, n_steps_before: 0, asked: [0, 0], n_steps_left, has_prompts }
    }

    /// The next request begins.
    fn begin(&mut self, varied: &Varied) {
        let [n_pictures, n_asked] = self.asked;
        self.n_before += n_pictures;
        self.n_steps_left -= n_asked;
        self.asked = [varied.request.drawn_count(), n_steps(varied)];
    }

    /// Steps of the requests behind this one, which has so many, however many it asked for.
    fn n_steps_behind(&self, n_own: usize) -> usize {
        let [_, n_asked] = self.asked;
        (self.n_steps_left - n_asked) * n_own / n_asked.max(1)
    }
}

fn n_steps(varied: &Varied) -> usize {
    varied.request.steps * varied.request.drawn_count()
}

/// In which order pictures are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    OneByOne,
    ByStage,
}

/// What a Ctrl-C waits for where pictures wait for their decoder until all are denoised.
enum Waiting {
    /// Pictures are finished one by one.
    Never,
    /// No picture has all its steps yet.
    NotYet,
    /// Some have.
    For(Writing),
    /// The user asked to stop, and was told that they are finished first.
    Told(Writing),
}

impl<'r> Steps<'r> {
    /// For the pictures of several requests, one after another, which go to these files.
    pub(super) fn new(
        series: &[Varied],
        files: &'r [OutputFile],
        previews: Option<Previews>,
        report: &'r Report,
    ) -> Self {
        let saved = Arc::new(Mutex::new(Vec::new()));
        let (there, n_wanted) = (saved.clone(), files.len());
        let (is_json, preview) = (report.is_json(), previews.as_ref().and_then(Previews::file));
        let last_act = LastAct::new(move || {
            preview.iter().for_each(PreviewFile::end);
            let there = locked(&there);
            if is_json {
                json_line(&Line::Interrupted { pictures: &there });
            }
            last_words(interrupted(&there, n_wanted));
        });
        Self {
            report,
            screen: Screen::new(report),
            files,
            saved,
            failed: None,
            series: Series::new(series),
            waiting: Waiting::Never,
            begin: Instant::now(),
            pace: Pace::default(),
            previews,
            _last_act: last_act,
        }
    }

    /// The next request begins, whose pictures are finished one by one or, by stages, all of them last.
    pub(super) fn begin(&mut self, varied: &Varied, order: Order) {
        self.series.begin(varied);
        self.waiting = if order == Order::ByStage { Waiting::NotYet } else { Waiting::Never };
    }

    /// What came of the request, or why a picture was not written; a program that was asked to end does so here.
    pub(super) fn outcome(&mut self, drawing: Result<Drawing, smelt::Error>) -> Result<Drawing> {
        self.screen.end();
        self.waiting = Waiting::Never;
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(drawing?),
        }
    }

    /// All is drawn.
    pub(super) fn end(&mut self) {
        self.previews = None;
    }

    /// The pictures that are written.
    pub(super) fn saved(&self) -> Vec<Saved> {
        locked(&self.saved).clone()
    }

    fn step(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        self.pace.step(self.begin.elapsed());
        let n_left = self.files.len() - locked(&self.saved).len().min(self.files.len());
        let n_behind = self.series.n_steps_behind(step.total);
        self.series.n_steps_before += usize::from(step.done == step.total) * step.total;
        let left = self.pace.left(step.total - step.done + n_behind, n_left);
        self.report.event(&Line::Progress(At {
            picture: self.series.n_before + step.picture + 1,
            pictures: self.files.len(),
            pass: step.pass + 1,
            passes: step.n_passes,
            step: step.step,
            of: step.n_steps,
            it_per_s: self.pace.rate(),
            eta_s: left.map(|left| left.as_secs_f64()),
        }));
        if let (Some(rate), Some(time)) = (self.pace.rate(), left) {
            let is_decoding = step.done == step.total || step.is_last() && matches!(self.waiting, Waiting::Never);
            let what = if is_decoding { "decoding" } else { "denoising" };
            self.screen.note(what, format!(", {}, {} left", it_per_s(rate), pace::left(time)));
        }
        if step.is_last() && matches!(self.waiting, Waiting::NotYet) {
            self.waiting = Waiting::For(Writing::begin());
        }
        self.preview(step)
    }

    fn preview(&mut self, step: &Step<'_>) -> ControlFlow<()> {
        match self.previews.as_mut().map_or(Ok(None), |previews| previews.show(step, &self.screen)) {
            Ok(path) => {
                if let Some(path) = &path {
                    let picture = self.series.n_before + step.picture + 1;
                    self.report.event(&Line::Preview { picture, step: step.step, path });
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Says once that what is denoised is finished first.
    fn tell_of_waiting(&mut self) {
        self.waiting = match std::mem::replace(&mut self.waiting, Waiting::Never) {
            Waiting::For(writing) => {
                self.screen.say(|report| {
                    report.aside("decoding the pictures whose steps are done; Ctrl-C again ends at once");
                });
                Waiting::Told(writing)
            }
            other => other,
        };
    }

    fn picture(&mut self, idx: usize, picture: &Picture) -> ControlFlow<()> {
        let idx = self.series.n_before + idx;
        let Some(file) = self.files.get(idx) else { return ControlFlow::Continue(()) };
        // Until it is noted too, so that it is not forgotten; what may wait for a reader can be interrupted.
        let writing = file.is_regular().then(Writing::begin);
        match self.screen.say(|report| save(file, picture, report)) {
            Ok(mut saved) => {
                saved.prompt = self.series.has_prompts.then(|| picture.settings.prompt.clone());
                self.pace.picture(self.begin.elapsed());
                self.previews.iter_mut().for_each(Previews::pass_on);
                self.screen.say(|report| tell(file, &saved, report));
                self.report.event(&Line::Picture { picture: idx + 1, pictures: self.files.len(), saved: &saved });
                locked(&self.saved).push(saved);
                drop(writing);
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        self.pace.mean()
    }

    pub(super) fn tell(&self, elapsed: Duration) {
        if let Some(rate) = self.pace.rate() {
            let n = count(self.pace.n_steps() as usize, "step");
            self.report.line(format_args!("{n} at {}, {} in all", it_per_s(rate), seconds(elapsed)));
        }
    }
}

impl Steps<'_> {
    /// Steps of one request as those of all.
    fn of_all<'e>(&self, event: Event<'e>) -> Event<'e> {
        match event {
            Event::Progress(at) if at.unit == Unit::Steps => {
                let before = self.series.n_steps_before as u64;
                let behind = self.series.n_steps_behind(at.total as usize) as u64;
                Event::Progress(Progress { done: before + at.done, total: before + at.total + behind, ..at })
            }
            other => other,
        }
    }
}

impl Watch for Steps<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Picture { idx, picture, .. } => return self.picture(idx, picture),
            Event::Step(ref step) if self.step(step).is_break() => return ControlFlow::Break(()),
            _ => {}
        }
        let answer = self.screen.event(self.of_all(event));
        if answer.is_break() {
            self.tell_of_waiting();
        }
        answer
    }
}

fn locked(saved: &Mutex<Vec<Saved>>) -> std::sync::MutexGuard<'_, Vec<Saved>> {
    saved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of the pictures that are there when the rest is not drawn.
fn interrupted(there: &[Saved], n_wanted: usize) -> String {
    let n = there.len();
    if n == 0 {
        return "interrupted: no picture is finished".to_owned();
    }
    let mut names: Vec<&str> = there.iter().take(MAX_NAMED).map(|saved| saved.path.as_str()).collect();
    if n > MAX_NAMED {
        names.push("…");
    }
    format!("interrupted: {n} of {} written: {}", count(n_wanted, "picture"), names.join(", "))
}
