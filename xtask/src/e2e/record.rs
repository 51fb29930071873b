//! What a run found: rows, kept as JSON and compared with those of another run.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One thing that a command made or said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) case: String,
    /// The name of the package or file; `says` is what the command printed, without times and paths.
    pub(super) product: String,
    pub(super) bytes: u64,
    /// Of the command that made it; of a package's verification for `… verify`.
    pub(super) seconds: f64,
    /// The lowest of the package's outputs against its checkpoint or source; none where all are equal or nothing was
    /// compared.
    pub(super) psnr_db: Option<f64>,
    pub(super) sha256: String,
}

/// Every row of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) rows: Vec<Row>,
}

impl Record {
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record of e2e", path.display()))
    }

    /// The rows of `before` whose hash is another one here, or that are missing, each in a line; only of cases that
    /// `is_asked` lets pass.
    pub(super) fn differences(&self, before: &Self, is_asked: impl Fn(&str) -> bool) -> Vec<String> {
        let [old, new] = [before, self].map(Self::by_name);
        let mut faults = Vec::new();
        for (name, hash) in &old {
            match new.get(name) {
                _ if !is_asked(name.0) => {}
                None => faults.push(format!("lacks   {}: {}", name.0, name.1)),
                Some(other) if other != hash => faults.push(format!("differs {}: {}", name.0, name.1)),
                Some(_) => {}
            }
        }
        faults
    }

    /// How many rows `before` does not have.
    pub(super) fn n_new(&self, before: &Self) -> usize {
        let old = before.by_name();
        self.by_name().keys().filter(|name| !old.contains_key(*name)).count()
    }

    fn by_name(&self) -> BTreeMap<(&str, &str), &str> {
        self.rows.iter().map(|row| ((row.case.as_str(), row.product.as_str()), row.sha256.as_str())).collect()
    }
}

impl Row {
    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let psnr = self.psnr_db.map_or_else(String::new, |psnr| format!("{psnr:.2}"));
        let Self { product, bytes, seconds, sha256, .. } = self;
        format!("  {product:<62} {bytes:>11} {seconds:>7.2} {psnr:>7}  {}", sha256.get(..16).unwrap_or(sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rows: &[(&str, &str, &str)]) -> Record {
        let row = |&(case, product, hash): &(&str, &str, &str)| Row {
            case: case.into(),
            product: product.into(),
            bytes: 1,
            seconds: 0.5,
            psnr_db: None,
            sha256: hash.into(),
        };
        Record { rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn every_difference_of_hashes_is_named() {
        let before = record(&[("a", "x", "1"), ("a", "y", "2"), ("b", "x", "3")]);
        assert!(before.differences(&before, |_| true).is_empty());
        let after = record(&[("a", "x", "1"), ("a", "y", "9"), ("c", "x", "3")]);
        assert_eq!(after.differences(&before, |_| true), ["differs a: y", "lacks   b: x"]);
        assert_eq!(after.n_new(&before), 1);
    }

    #[test]
    fn what_was_not_asked_for_is_not_missed() {
        let before = record(&[("a", "x", "1"), ("b", "x", "3")]);
        let after = record(&[("a", "x", "1")]);
        assert!(after.differences(&before, |case| case == "a").is_empty());
    }

    #[test]
    fn a_record_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, one) = (folder.path().join("e2e.json"), record(&[("a", "x", "1")]));
        one.save(&path).expect("saved");
        assert_eq!(Record::load(&path).expect("loaded").rows, one.rows);
    }
}
