//! Shards put together.

use std::path::PathBuf;

use safe_files::{Existing, OutputFile};
use serde::Serialize;

use crate::analysis::{AnalysedWeight, Analysis, Shard};
use crate::error::{Error, Result, refusal, refuse};
use crate::watch::{Watch, write_file};

/// What came of shards.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MergedAnalysis {
    /// The file.
    pub path: String,
    /// Name of the model.
    pub model: String,
    /// Shards that were put together.
    pub shards: usize,
    /// Weights in the file.
    pub weights: usize,
}

/// Puts shards together, in whatever order they are given: what a run without shards would have written.
///
/// # Errors
/// For files that are no shards, are of different models, inputs or options, or are not all there are.
pub fn merge(
    paths: &[PathBuf],
    output: &OutputFile,
    existing: Existing,
    watch: &mut dyn Watch,
) -> Result<MergedAnalysis> {
    if existing == Existing::Refuse && output.is_regular() && output.path().exists() {
        return Err(Error::Exists(format!("{output} is there already; replace it with --force")));
    }
    let shards = paths.iter().map(|path| Analysis::read(path)).collect::<Result<Vec<_>>>()?;
    let whole = whole(shards, paths)?;
    write_file(output, watch, |out| Ok(out.write_all(whole.to_json()?.as_bytes())?))?;
    Ok(MergedAnalysis {
        path: output.path().display().to_string(),
        model: whole.model,
        shards: paths.len(),
        weights: whole.weights.len(),
    })
}

fn whole(shards: Vec<Analysis>, paths: &[PathBuf]) -> Result<Analysis> {
    let mut found: Vec<Option<Analysis>> = Vec::new();
    for (analysis, path) in shards.into_iter().zip(paths) {
        let path = path.display();
        let Some(Shard { index, of }) = analysis.shard else {
            refuse!("{path} is a whole analysis, and no shard of one");
        };
        if found.is_empty() {
            found.resize(of, None);
        }
        let first = found.iter().flatten().next();
        if of != found.len() || first.is_some_and(|first| !is_of_the_same(first, &analysis)) {
            refuse!("{path} is no shard of what {} is one of: model, inputs or options differ", paths[0].display());
        }
        let place = index.checked_sub(1).and_then(|i| found.get_mut(i));
        let place = place.ok_or_else(|| refusal!("{path} says that it is shard {index} of {of}"))?;
        if place.is_some() {
            refuse!("{path} is shard {index} of {of}, which is given twice");
        }
        *place = Some(analysis);
    }
    let missing: Vec<String> =
        (1..).zip(&found).filter(|(_, shard)| shard.is_none()).map(|(i, _)| i.to_string()).collect();
    if !missing.is_empty() {
        refuse!("of {} shards these are missing: {}", found.len(), missing.join(", "));
    }
    let mut shards: Vec<Analysis> = found.into_iter().flatten().collect();
    let mut lists: Vec<std::vec::IntoIter<AnalysedWeight>> =
        shards.iter_mut().map(|shard| std::mem::take(&mut shard.weights).into_iter()).collect();
    let Some(mut whole) = shards.into_iter().next() else { refuse!("there is no shard to put together") };
    whole.shard = None;
    // A shard is every so many weights, so that they come from one after another.
    for turn in 0.. {
        let n = lists.len();
        match lists[turn % n].next() {
            Some(weight) => whole.weights.push(weight),
            None => break,
        }
    }
    if lists.iter_mut().any(|list| list.next().is_some()) {
        refuse!("the shards do not have as many weights as shards of one model have");
    }
    Ok(whole)
}

fn is_of_the_same(a: &Analysis, b: &Analysis) -> bool {
    (&a.software, &a.model, &a.inputs) == (&b.software, &b.model, &b.inputs)
        && (&a.schemes, &a.measured) == (&b.schemes, &b.measured)
        && (a.signal.to_bits(), a.peak.to_bits()) == (b.signal.to_bits(), b.peak.to_bits())
}
