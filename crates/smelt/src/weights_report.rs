//! What a compression did to each weight, as data, as a picture, and as a page.

mod page;
mod picture;
mod summary;

use std::path::Path;

use serde::Serialize;

use crate::error::{Result, refuse};
pub(crate) use summary::escaped;
pub use summary::{Summary, Weight};

/// The form of a report, told by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A page.
    Html,
    /// A picture.
    Svg,
    /// Data.
    Json,
}

impl Format {
    /// The form that a name says.
    ///
    /// # Errors
    /// For other endings.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Html),
            Some("svg") => Ok(Self::Svg),
            Some("json") => Ok(Self::Json),
            _ => refuse!("{}: reports end with .html, .svg or .json", path.display()),
        }
    }
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

impl Summary {
    /// The report as text.
    ///
    /// # Errors
    /// Never, for numbers and strings can all be written as JSON.
    pub fn text(&self, format: Format) -> Result<String> {
        Ok(match format {
            Format::Svg => picture::draw(self),
            Format::Html => page::write(self),
            Format::Json => serde_json::to_string_pretty(&Data {
                title: &self.title,
                bytes_before: self.bytes_before,
                bytes: self.bytes_after,
                summary: self,
            })?,
        })
    }
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
