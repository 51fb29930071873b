//! The lines of `generate --json`: what happens as it happens, and at the end what came of it.

use serde::Serialize;

use super::Summary;
use super::save::Saved;

/// A line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// A step is done.
    Progress(At),
    /// A preview is written, in the place of the last one.
    Preview {
        /// Of which picture, from 1.
        picture: usize,
        /// After which step.
        step: usize,
        path: &'a str,
    },
    /// A picture is written.
    Picture {
        /// Which one, from 1.
        picture: usize,
        /// Of how many.
        pictures: usize,
        #[serde(flatten)]
        saved: &'a Saved,
    },
    /// Nothing more is drawn, because the user asked to stop.
    Interrupted {
        /// Those that are written.
        pictures: &'a [Saved],
    },
    /// All is drawn; the last line.
    Done(&'a Summary),
}

/// Where a drawing stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct At {
    /// Which picture, from 1.
    pub(super) picture: usize,
    /// Of how many.
    pub(super) pictures: usize,
    /// Which pass over all pictures, from 1: the second is a refiner's, or that at a larger size.
    pub(super) pass: usize,
    /// Of how many.
    pub(super) passes: usize,
    /// Which step of this picture in this pass, from 1.
    pub(super) step: usize,
    /// Of how many.
    pub(super) of: usize,
    /// Steps per second so far.
    pub(super) it_per_s: Option<f64>,
    /// What all pictures will still take, their decoding too.
    pub(super) eta_s: Option<f64>,
}
