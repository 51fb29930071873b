//! What a client sees of long work, and how it stops it.
//!
//! Whoever calls gives a [`Watch`]; it hears of progress, of warnings and of what is finished, in order, on the thread
//! that called. Lines, bars and exit codes are the client's.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use safe_files::OutputFile;

use crate::error::{Error, Result};
use crate::picture::Picture;
use crate::report::{CompressedPackage, ConvertedPackage, Part};
use crate::step::Step;

/// Looks on while something is done.
pub trait Watch {
    /// Takes note; [`ControlFlow::Break`] stops the work, and nothing is left half written.
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()>;
}

/// Nobody looks on, and nobody stops the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&mut self, _: Event<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(Event<'_>) -> ControlFlow<()>> Watch for F {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        self(event)
    }
}

/// Something happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What the user should know although nothing failed.
    Warning(&'a str),
    /// Work of unknown length begins.
    Begin(&'a str),
    /// Work has come so far.
    Progress(Progress<'a>),
    /// The work that was told of last is done.
    End,
    /// Files of a model come from the Hub now.
    Fetching {
        /// The reference.
        source: &'a str,
        /// How many files.
        n_files: usize,
        /// How large they are together.
        bytes: u64,
    },
    /// A step of a picture is done; comes after the progress.
    Step(Step<'a>),
    /// A picture is finished, while others may still be to be drawn.
    Picture {
        /// Which one, from 0.
        idx: usize,
        /// Of how many.
        n_pictures: usize,
        /// The picture.
        picture: &'a Picture,
    },
    /// A package of a conversion is there.
    Converted(&'a ConvertedPackage),
    /// A part of a package is there.
    Chunked(&'a Part),
    /// A package is there, with compressed weights.
    Compressed(&'a CompressedPackage),
    /// Something is half written from now on: a program that ends now leaves a hidden file or folder behind.
    WriteBegins,
    /// It is whole, or undone; follows each [`Event::WriteBegins`], after errors too.
    WriteEnds,
}

/// How far work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The work.
    pub what: &'a str,
    /// How much is done.
    pub done: u64,
    /// Of how much.
    pub total: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What progress is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes that are written or fetched.
    Bytes,
    /// Elements of weights, which are only counted to know how long they take.
    Elements,
    /// Steps of pictures.
    Steps,
    /// Parts of a picture that is upscaled.
    Tiles,
}

/// Tells of work of unknown length.
pub(crate) fn begin(watch: &mut dyn Watch, what: &str) -> Result<()> {
    tell(watch, Event::Begin(what))
}

/// Tells that work is done.
pub(crate) fn end(watch: &mut dyn Watch) -> Result<()> {
    tell(watch, Event::End)
}

/// Tells what the user should know.
pub(crate) fn warn(watch: &mut dyn Watch, words: &str) -> Result<()> {
    tell(watch, Event::Warning(words))
}

/// Tells which files beside packages get another content.
pub(crate) fn warn_replaced(watch: &mut dyn Watch, files: &[PathBuf]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = files.iter().map(|path| format!("\n  {}", path.display())).collect();
    warn(watch, &format!("these files were there with other content, and are replaced:{}", list.concat()))
}

/// Tells of something, and stops where the watcher says so.
pub(crate) fn tell(watch: &mut dyn Watch, event: Event<'_>) -> Result<()> {
    match watch.event(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// Held while something is half written; declared before it, so that it is dropped after it.
pub(crate) struct Writing<'w> {
    watch: &'w mut dyn Watch,
}

impl<'w> Writing<'w> {
    pub(crate) fn begin(watch: &'w mut dyn Watch) -> Self {
        // Whoever would stop here is asked again before anything takes long.
        let _ = watch.event(Event::WriteBegins);
        Self { watch }
    }

    /// Whoever looks on meanwhile.
    pub(crate) fn watch(&mut self) -> &mut dyn Watch {
        self.watch
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let _ = self.watch.event(Event::WriteEnds);
    }
}

/// Writes a file, whole or not at all where it is a regular one; what may wait for a reader may be interrupted.
pub(crate) fn write_file(
    output: &OutputFile,
    watch: &mut dyn Watch,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let _writing = output.is_regular().then(|| Writing::begin(watch));
    Ok(output.write(content)?)
}
