//! What a compression did to each weight, as data, as a picture, and as a page.

mod page;
mod picture;

use std::path::Path;

use mil_compress::{Loss, Outcome};
use safe_files::OutputFile;
use serde::Serialize;

use crate::error::{Result, refuse};
use crate::watch::{Watch, write_file};

/// The form of a report, told by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Html,
    Svg,
    Json,
}

impl Format {
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Html),
            Some("svg") => Ok(Self::Svg),
            Some("json") => Ok(Self::Json),
            _ => refuse!("{}: reports end with .html, .svg or .json", path.display()),
        }
    }
}

/// All weights of a compressed package that are worth a line, in the order of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    #[serde(skip)]
    pub title: String,
    #[serde(skip)]
    pub bytes_before: u64,
    #[serde(skip)]
    pub bytes_after: u64,
    pub n_compressed: usize,
    pub n_kept: usize,
    /// Bits per element over all of them.
    pub average_bits: f64,
    /// Signal-to-noise ratio of all compressed weights together, in dB, where it was measured.
    pub snr_db: Option<f64>,
    pub weights: Vec<Weight>,
}

/// One weight.
#[derive(Debug, Clone, Serialize)]
pub struct Weight {
    pub name: String,
    pub readers: Vec<String>,
    pub shape: Vec<usize>,
    pub encoding: String,
    pub bytes_before: u64,
    pub bytes: u64,
    pub bits: f64,
    /// `None` where it was not measured, or nothing was lost.
    pub snr_db: Option<f64>,
    /// Why it was left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// A report as data.
#[derive(Serialize)]
struct Data<'s> {
    title: &'s str,
    bytes_before: u64,
    bytes: u64,
    #[serde(flatten)]
    summary: &'s Summary,
}

impl Weight {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Summary {
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
            average_bits: weights.iter().map(|w| w.bytes as f64 * 8.0).sum::<f64>() / elements.max(1) as f64,
            snr_db: finite(all).filter(|_| all.signal > 0.0),
            weights,
        }
    }

    /// Writes the report.
    pub fn write(&self, output: &OutputFile, format: Format, watch: &mut dyn Watch) -> Result<()> {
        let text = match format {
            Format::Svg => picture::draw(self),
            Format::Html => page::write(self),
            Format::Json => serde_json::to_string_pretty(&Data {
                title: &self.title,
                bytes_before: self.bytes_before,
                bytes: self.bytes_after,
                summary: self,
            })?,
        };
        write_file(output, watch, |out| Ok(out.write_all(text.as_bytes())?))
    }
}

/// Text that stands in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(name: &str, n: usize, bits: f64, snr_db: Option<f64>) -> Weight {
        let bytes = (n as f64 * bits / 8.0) as u64;
        let (kept, encoding) = (snr_db.is_none().then(|| "left <alone>".to_owned()), "palette of 64".to_owned());
        let (readers, shape) = (vec!["conv".to_owned()], vec![n, 1]);
        Weight { name: name.into(), readers, shape, encoding, bytes_before: n as u64 * 2, bytes, bits, snr_db, kept }
    }

    fn summary(weights: Vec<Weight>) -> Summary {
        Summary {
            title: "a & b".into(),
            bytes_before: 1_719_000_000,
            bytes_after: 645_000_000,
            n_compressed: 2,
            n_kept: 1,
            average_bits: 6.1,
            snr_db: Some(31.9),
            weights,
        }
    }

    /// Counts opened and closed elements; attributes hold no angle brackets.
    fn assert_balanced(text: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in text.split('<').skip(1).filter_map(|t| t.split_once('>').map(|(tag, _)| tag)) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {tag}");
            } else if !tag.ends_with('/')
                && !tag.starts_with(['!', '?'])
                && !["meta", "br"].iter().any(|v| tag.starts_with(v))
            {
                open.push(tag.split_whitespace().next().unwrap_or_default());
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn pictures_and_pages_are_well_formed_whatever_the_weights() {
        let many = (0..400).map(|i| weight(&format!("down_blocks_{}_x_weight", i / 100), 1 + i * 997, 6.0, Some(30.0)));
        for weights in [
            Vec::new(),
            vec![weight("conv_in_weight", 0, 0.0, None)],
            vec![weight("a<b>_weight", 10, 6.0, Some(-3.0)), weight("c", 5, 16.0, None)],
            many.collect(),
        ] {
            let s = summary(weights);
            for text in [picture::draw(&s), page::write(&s)] {
                let (before, after) = match text.split_once("<script>") {
                    Some((before, rest)) => (before, rest.split_once("</script>").map_or("", |(_, after)| after)),
                    None => (&*text, ""),
                };
                assert_balanced(&format!("{before}{after}"));
                assert!(!text.contains("NaN") && !text.contains("a & b"), "{text}");
            }
        }
    }

    #[test]
    fn the_ending_says_the_form() {
        assert_eq!(Format::of(Path::new("x.SVG")).unwrap(), Format::Svg);
        assert!(Format::of(Path::new("x.pdf")).unwrap_err().to_string().contains(".html, .svg or .json"));
    }
}
