//! What a compression did to each weight, as data.

use mil_compress::{Loss, Outcome};
use serde::Serialize;

/// All weights of a compressed package that are worth a line, in the order of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name of the package.
    #[serde(skip)]
    pub title: String,
    /// Bytes that it took.
    #[serde(skip)]
    pub bytes_before: u64,
    /// Bytes that it takes.
    #[serde(skip)]
    pub bytes_after: u64,
    /// Weights that are compressed.
    pub n_compressed: usize,
    /// Weights that stay as they were.
    pub n_kept: usize,
    /// Bits per element over all of them.
    pub average_bits: f64,
    /// Signal-to-noise ratio of all compressed weights together, in dB, where it was measured.
    pub snr_db: Option<f64>,
    /// The weights.
    pub weights: Vec<Weight>,
}

/// One weight.
#[derive(Debug, Clone, Serialize)]
pub struct Weight {
    /// Its name.
    pub name: String,
    /// Operations that read it.
    pub readers: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub encoding: String,
    /// Bytes that it took.
    pub bytes_before: u64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Bits per element.
    pub bits: f64,
    /// `None` where it was not measured, or nothing was lost.
    pub snr_db: Option<f64>,
    /// Why it was left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl Weight {
    /// Number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a weight without elements is no special case")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Summary {
    /// Gathers what a compression did.
    #[must_use]
    pub fn new(title: &str, bytes_before: u64, bytes_after: u64, outcome: &Outcome) -> Self {
        let bits = |bytes: u64, shape: &[usize]| bytes as f64 * 8.0 / shape.iter().product::<usize>().max(1) as f64;
        let finite = |loss: Loss| Some(loss.snr_db()).filter(|db| db.is_finite());
        let mut weights: Vec<Weight> = outcome
            .compressed
            .iter()
            .map(|w| Weight {
                name: w.name.clone(),
                readers: w.readers.clone(),
                shape: w.shape.clone(),
                encoding: w.encoding.clone(),
                bytes_before: w.bytes_before,
                bytes: w.bytes_after,
                bits: w.bits(),
                snr_db: w.loss.and_then(finite),
                kept: None,
            })
            .collect();
        weights.extend(outcome.kept.iter().map(|k| Weight {
            name: k.name.clone(),
            readers: k.readers.clone(),
            shape: k.shape.clone(),
            encoding: "as it was".into(),
            bytes_before: k.bytes,
            bytes: k.bytes,
            bits: bits(k.bytes, &k.shape),
            snr_db: None,
            kept: Some(k.reason.clone()),
        }));
        let mut all = Loss::default();
        outcome.compressed.iter().filter_map(|w| w.loss).for_each(|loss| all += loss);
        let elements: usize = weights.iter().map(Weight::len).sum();
        Self {
            title: title.to_owned(),
            bytes_before,
            bytes_after,
            n_compressed: outcome.compressed.len(),
            n_kept: outcome.kept.len(),
            average_bits: weights.iter().fold(0.0, |sum, w| sum + w.bytes as f64 * 8.0) / elements.max(1) as f64,
            snr_db: finite(all).filter(|_| all.signal > 0.0),
            weights,
        }
    }
}

/// Text that stands in XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
