//! What whoever looks on hears.

use std::ops::ControlFlow;

/// Looks on while something is fetched.
pub trait Watch {
    /// Takes note; [`ControlFlow::Break`] stops, and what is there is gone on with the next time.
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()>;
}

/// Something happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The Hub is asked what there is.
    Asking,
    /// It is known what is needed, and what of it is not there yet.
    Found {
        /// Files that are needed.
        n_files: usize,
        /// Files that are fetched.
        n_missing: usize,
        /// Their bytes, as far as the Hub lists them.
        n_bytes: u64,
    },
    /// So much of them is there.
    Progress {
        /// Bytes that are there.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// What the user should know: a pause, or another process.
    Note(&'a str),
}

impl<F: FnMut(Event<'_>) -> ControlFlow<()>> Watch for F {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        self(event)
    }
}
