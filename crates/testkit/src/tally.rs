//! Which golden cases ran and which were skipped, over all test binaries of a run.
//!
//! Each case appends a line to the file that `SMELT_GOLDEN_TALLY` names; who runs the tests counts them afterwards.
//! The output of the tests does not tell: the harness hides what a passing test prints.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

/// The variable that names the file.
pub const VARIABLE: &str = "SMELT_GOLDEN_TALLY";

pub(crate) const RAN: &str = "ran";
pub(crate) const SKIPPED: &str = "skipped";

/// Numbers of golden cases: tests that asked for golden data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// With golden data.
    pub n_ran: usize,
    /// Without, in whole or in part.
    pub n_skipped: usize,
}

impl Tally {
    /// Counts the cases that a file of notes names.
    ///
    /// # Errors
    /// If the file cannot be read; one that is not there has no cases.
    pub fn read(path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::of(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// A test may ask several times, and is one case.
    fn of(text: &str) -> Self {
        let notes: BTreeSet<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        let count = |what: &str| notes.iter().filter(|(noted, _)| *noted == what).count();
        Self { n_ran: count(RAN), n_skipped: count(SKIPPED) }
    }
}

/// Notes what became of the test that runs on this thread, if anybody asks for it.
pub(crate) fn note(what: &str) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let binary = std::env::current_exe().unwrap_or_default();
    let thread = std::thread::current();
    // The harness names a test's thread by the test.
    let line = format!("{what} {} {}\n", binary.display(), thread.name().unwrap_or("unnamed"));
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut f| f.write_all(line.as_bytes()));
    assert!(written.is_ok(), "cannot append to {} ({VARIABLE}): {written:?}", Path::new(&path).display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_asks_twice_is_one_case() {
        let text = "ran a/x one\nskipped a/x two\nran a/x one\nran b/y one\n";
        assert_eq!(Tally::of(text), Tally { n_ran: 2, n_skipped: 1 });
    }

    #[test]
    fn without_notes_there_are_no_cases() {
        assert_eq!(Tally::read(Path::new("no/such/file")).expect("no error"), Tally::default());
    }
}
