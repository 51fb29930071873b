//! Every weight of a package.

use std::collections::BTreeMap;

use mil_compress::{StoredWeight, stored_weights};
use mlpackage::Package;
use serde::Serialize;

/// Orders of weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightOrder {
    /// As the program reads them.
    #[default]
    Program,
    /// The largest first.
    Size,
}

/// All weights of a package.
#[derive(Debug, Clone, Serialize)]
pub struct StoredWeights {
    /// The package.
    pub package: String,
    /// Bytes of all weights.
    pub bytes: u64,
    /// Bits per element over all of them.
    pub average_bits: f64,
    /// The ways in which weights are stored, the largest share first.
    pub encodings: Vec<WeightEncoding>,
    /// The weights.
    pub weights: Vec<WeightRow>,
}

/// Weights that are stored in one way.
#[derive(Debug, Clone, Serialize)]
pub struct WeightEncoding {
    /// How it is stored.
    pub encoding: String,
    /// How many weights.
    pub n_weights: usize,
    /// Elements of all of them.
    pub n_elements: usize,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// A weight.
#[derive(Debug, Clone, Serialize)]
pub struct WeightRow {
    /// Its name.
    pub name: String,
    /// Operations that read it.
    pub readers: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub encoding: String,
    /// Bits per element.
    pub bits: f64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Part of the bytes of all weights.
    pub share: f64,
}

impl StoredWeights {
    /// Looks at the weights of all programs of a package.
    #[must_use]
    pub fn of(package: &Package, order: WeightOrder) -> Self {
        let mut weights: Vec<StoredWeight> = package.model().programs().into_iter().flat_map(stored_weights).collect();
        if order == WeightOrder::Size {
            weights.sort_by_key(|w| std::cmp::Reverse(w.bytes));
        }
        let (mut total, mut elements) = (0, 0);
        let mut encodings: BTreeMap<&str, WeightEncoding> = BTreeMap::new();
        for w in &weights {
            let empty = || WeightEncoding { encoding: w.encoding.clone(), n_weights: 0, n_elements: 0, bytes: 0 };
            let e = encodings.entry(&w.encoding).or_insert_with(empty);
            (e.n_weights, e.n_elements, e.bytes) = (e.n_weights + 1, e.n_elements + w.len(), e.bytes + w.bytes);
            (total, elements) = (total + w.bytes, elements + w.len());
        }
        let mut encodings: Vec<WeightEncoding> = encodings.into_values().collect();
        encodings.sort_by_key(|e| std::cmp::Reverse(e.bytes));
        let share = |b: u64| b as f64 / total.max(1) as f64;
        let row = |w: StoredWeight| WeightRow {
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
