//! `smelt inspect --weights`: every weight of a package.

use std::collections::BTreeMap;

use anyhow::Result;
use mil_compress::{StoredWeight, stored_weights};
use mlpackage::Package;
use serde::Serialize;

use crate::cli::SortName;
use crate::report::{Report, Table, bytes, count};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    /// Bytes of all weights.
    bytes: u64,
    /// Bits per element over all of them.
    average_bits: f64,
    encodings: Vec<Encoding>,
    weights: Vec<Row>,
}

#[derive(Serialize)]
struct Encoding {
    encoding: String,
    n_weights: usize,
    n_elements: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Row {
    name: String,
    readers: Vec<String>,
    shape: Vec<usize>,
    encoding: String,
    bits: f64,
    bytes: u64,
    /// Part of the bytes of all weights.
    share: f64,
}

/// Lists the weights of all programs of a package.
pub(super) fn tell(package: &Package, sort: SortName, report: &Report) -> Result<()> {
    let mut weights: Vec<StoredWeight> = package.model().programs().into_iter().flat_map(stored_weights).collect();
    if sort == SortName::Size {
        weights.sort_by_key(|w| std::cmp::Reverse(w.bytes));
    }
    let summary = Summary::new(package, weights);
    report.json(&summary)?;
    let mut table = Table::new(2, "<<<>>>");
    for w in &summary.weights {
        let shape: Vec<String> = w.shape.iter().map(ToString::to_string).collect();
        let share = format!("{:.2} %", w.share * 100.0);
        let bits = format!("{:.2} bits", w.bits);
        table.row([w.name.clone(), shape.join("×"), w.encoding.clone(), bits, bytes(w.bytes), share]);
    }
    report.text(table);
    report.line("");
    let mut table = Table::new(2, "<>>>");
    for e in &summary.encodings {
        let bits = format!("{:.2} bits", e.bytes as f64 * 8.0 / e.n_elements.max(1) as f64);
        table.row([e.encoding.clone(), count(e.n_weights, "weight"), bits, bytes(e.bytes)]);
    }
    let bits = format!("{:.2} bits", summary.average_bits);
    table.row(["all".into(), count(summary.weights.len(), "weight"), bits, bytes(summary.bytes)]);
    report.text(table);
    Ok(())
}

impl Summary {
    fn new(package: &Package, weights: Vec<StoredWeight>) -> Self {
        let (mut total, mut elements) = (0, 0);
        let mut encodings: BTreeMap<&str, Encoding> = BTreeMap::new();
        for w in &weights {
            let empty = || Encoding { encoding: w.encoding.clone(), n_weights: 0, n_elements: 0, bytes: 0 };
            let e = encodings.entry(&w.encoding).or_insert_with(empty);
            (e.n_weights, e.n_elements, e.bytes) = (e.n_weights + 1, e.n_elements + w.len(), e.bytes + w.bytes);
            (total, elements) = (total + w.bytes, elements + w.len());
        }
        let mut encodings: Vec<Encoding> = encodings.into_values().collect();
        encodings.sort_by_key(|e| std::cmp::Reverse(e.bytes));
        let share = |b: u64| b as f64 / total.max(1) as f64;
        let row = |w: StoredWeight| Row {
            bits: w.bits(),
            share: share(w.bytes),
            name: w.name,
            readers: w.readers,
            shape: w.shape,
            encoding: w.encoding,
            bytes: w.bytes,
        };
        Self {
            package: package.path().display().to_string(),
            bytes: total,
            average_bits: total as f64 * 8.0 / elements.max(1) as f64,
            encodings,
            weights: weights.into_iter().map(row).collect(),
        }
    }
}
