//! What a user sees of long work: the library's events as bars, warnings, and a Ctrl-C that waits for what is half written.

use std::ops::ControlFlow;

use indicatif::ProgressBar;
use smelt::{Event, Progress, Unit, Watch};

use crate::interrupt::{Writing, interrupted};
use crate::report::{Report, bytes, count};

/// Whoever looks on for the user.
pub(crate) struct Screen<'r> {
    report: &'r Report,
    bar: Option<Bar>,
    writing: Vec<Writing>,
}

/// A bar that is drawn now.
struct Bar {
    what: String,
    /// None for work of unknown length.
    unit: Option<Unit>,
    bar: ProgressBar,
}

impl<'r> Screen<'r> {
    pub(crate) fn new(report: &'r Report) -> Self {
        Self { report, bar: None, writing: Vec::new() }
    }

    fn begin(&mut self, what: &str) {
        self.end();
        self.bar = Some(Bar { what: what.to_owned(), unit: None, bar: self.report.spinner(what) });
    }

    fn advance(&mut self, at: Progress<'_>) {
        if !self.bar.as_ref().is_some_and(|bar| bar.what == at.what && bar.unit == Some(at.unit)) {
            self.end();
            let bar = match at.unit {
                Unit::Bytes => self.report.byte_bar(at.what, at.total),
                Unit::Steps => self.report.step_bar(at.what, at.total),
                Unit::Tiles => self.report.tile_bar(at.what, at.total),
                _ => self.report.work_bar(at.what, at.total),
            };
            self.bar = Some(Bar { what: at.what.to_owned(), unit: Some(at.unit), bar });
        }
        if let Some(Bar { bar, .. }) = &self.bar {
            bar.set_length(at.total);
            bar.set_position(at.done);
        }
    }

    /// Says what goes on beside the bar, and how quick it is.
    pub(crate) fn note(&self, what: &'static str, pace: String) {
        if let Some(Bar { bar, .. }) = &self.bar {
            bar.set_message(what);
            bar.set_prefix(pace);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&mut self) {
        if let Some(Bar { bar, .. }) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Says something while there may be a bar, which makes way.
    pub(crate) fn say<T>(&self, say: impl FnOnce(&Report) -> T) -> T {
        match &self.bar {
            Some(Bar { bar, .. }) => bar.suspend(|| say(self.report)),
            None => say(self.report),
        }
    }

    fn warn(&self, words: &str) {
        self.say(|report| report.warn(words));
    }
}

impl Watch for Screen<'_> {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Warning(words) => self.warn(words),
            Event::Fetching { source, n_files, bytes: size } => {
                self.end();
                self.report.aside(format_args!("fetching {source}: {}, {}", count(n_files, "file"), bytes(size)));
            }
            Event::Begin(what) => self.begin(what),
            Event::Progress(at) => self.advance(at),
            Event::End => self.end(),
            Event::WriteBegins => self.writing.push(Writing::begin()),
            Event::WriteEnds => drop(self.writing.pop()),
            _ => {}
        }
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
