//! What is measured, kept beside the file that will be: a line of JSON for each weight and batch.
//!
//! The first line says what it is of; a run with other options does not go on with it. A last line that is not whole is
//! what a kill leaves, and is measured again.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use mil_sensitivity::{Analyser, Clean, Measured};
use safe_files::{Existing, Growing};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Analysing, names};
use crate::error::{Context, Result, refuse};

/// What each scheme does to a weight, or why it does not fit.
pub(super) type Entry = Vec<std::result::Result<Measured, String>>;

/// What was measured so far.
pub(super) struct Journal {
    file: Growing,
    clean: BTreeMap<usize, Clean>,
    entries: BTreeMap<(usize, usize), Entry>,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// The first one.
    Of(String),
    /// The outputs of a batch with all weights as they are.
    Clean { batch: usize, squares: f64, peak: f64, n_elements: usize },
    /// A weight in a batch.
    Weight { batch: usize, weight: usize, schemes: Vec<Outcome> },
}

/// What a scheme does to a weight: bytes, local error, error at the outputs; or why it does not fit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Measured(u64, f64, Option<f64>),
    Unfit(String),
}

/// What tells one analysis from another: all that its numbers depend on.
pub(super) fn about(asked: &Analysing, analyser: &Analyser, model: &str, inputs: &str) -> String {
    let mut hash = Sha256::new();
    for weight in analyser.weights() {
        hash.update(format!("{} {:?} {}\n", weight.name, weight.shape, weight.bytes));
    }
    let weights: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let list = |schemes: &[mil_compress::Named]| names(schemes).join(",");
    let shard = asked.shard.map_or_else(|| "1/1".to_owned(), |shard| format!("{}/{}", shard.index, shard.of));
    let engine = analyser.isa();
    format!(
        "{} {model:?} weights {weights} inputs {inputs} schemes {} measured {} shard {shard} by {engine}",
        crate::SOFTWARE,
        list(&asked.schemes),
        list(&asked.measured),
    )
}

impl Journal {
    /// Goes on with what an earlier run left, or begins.
    pub(super) fn open(target: &Path, about: &str, existing: Existing) -> Result<Self> {
        let file = Growing::open(target)?;
        let journal = Self { file, clean: BTreeMap::new(), entries: BTreeMap::new() };
        let mut text = String::new();
        // What is no text was not written here.
        let is_text = journal.file.written()?.read_to_string(&mut text).is_ok();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        match lines.next().map(serde_json::from_str::<Line>) {
            Some(Ok(Line::Of(other))) if other == about => {}
            None if is_text => return journal.begin(about),
            _ if existing == Existing::Replace => return journal.begin(about),
            _ => refuse!(
                "{} was begun by an analysis with other options, another model or other inputs; remove it, or begin anew \
                 with --force",
                journal.file.path().display()
            ),
        }
        let lines: Vec<&str> = lines.collect();
        journal.begin(about).and_then(|mut journal| {
            for line in lines {
                let Ok(line) = serde_json::from_str(line) else { break };
                journal.take(line)?;
            }
            Ok(journal)
        })
    }

    /// An empty one.
    fn begin(mut self, about: &str) -> Result<Self> {
        self.file.restart()?;
        self.write(&Line::Of(about.to_owned()))?;
        Ok(self)
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line).context("a line of the journal")?;
        text.push(b'\n');
        Ok(self.file.append(&text)?)
    }

    fn take(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Of(_) => Ok(()),
            Line::Clean { batch, squares, peak, n_elements } => {
                self.note_clean(batch, Clean { squares, peak, n_elements })
            }
            Line::Weight { batch, weight, schemes } => {
                let result = |result| match result {
                    Outcome::Measured(bytes, local, output) => Ok(Measured { bytes, local, output }),
                    Outcome::Unfit(reason) => Err(reason),
                };
                self.note(batch, weight, schemes.into_iter().map(result).collect())
            }
        }
    }

    pub(super) fn has(&self, batch: usize, weight: usize) -> bool {
        self.entries.contains_key(&(batch, weight))
    }

    pub(super) fn entry(&self, batch: usize, weight: usize) -> Option<&Entry> {
        self.entries.get(&(batch, weight))
    }

    pub(super) fn clean(&self, batch: usize) -> Option<Clean> {
        self.clean.get(&batch).copied()
    }

    pub(super) fn note_clean(&mut self, batch: usize, clean: Clean) -> Result<()> {
        let Clean { squares, peak, n_elements } = clean;
        if self.clean.insert(batch, clean).is_none() {
            self.write(&Line::Clean { batch, squares, peak, n_elements })?;
        }
        Ok(())
    }

    pub(super) fn note(&mut self, batch: usize, weight: usize, entry: Entry) -> Result<()> {
        let result = |result: &std::result::Result<Measured, String>| match result {
            Ok(Measured { bytes, local, output }) => Outcome::Measured(*bytes, *local, *output),
            Err(reason) => Outcome::Unfit(reason.clone()),
        };
        self.write(&Line::Weight { batch, weight, schemes: entry.iter().map(result).collect() })?;
        self.entries.insert((batch, weight), entry);
        Ok(())
    }

    /// Removes it: the file is there.
    pub(super) fn discard(self) -> Result<()> {
        Ok(self.file.discard()?)
    }
}
