//! Golden summaries: what Apple's converter wrote, op by op, as gzipped JSON.

use std::{collections::BTreeMap, fs::File, path::Path};

use flate2::read::GzDecoder;
use serde_json::Value;

/// One package as Apple's converter wrote it. Dtypes are spelt as the dump spells them (`float16`, `int32`).
#[derive(Debug, Clone)]
pub struct Summary {
    /// The model file's specification version (7 for macOS 13).
    pub specification_version: u64,
    /// The opset of the main function (`CoreML6`), empty for a pipeline.
    pub opset: String,
    /// Model inputs in order.
    pub inputs: Vec<Feature>,
    /// Model outputs in order.
    pub outputs: Vec<Feature>,
    /// Every op of the main function in program order, constants included.
    pub ops: Vec<SummaryOp>,
    /// The whole dump, for anything not lifted above.
    pub json: Value,
}

/// A named tensor type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the package.
    pub name: String,
    /// `float16`, `float32`, `int32`, `string`, …
    pub dtype: String,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct SummaryOp {
    /// Its type, as `conv`.
    pub kind: String,
    /// Its results.
    pub outputs: Vec<Feature>,
}

impl Summary {
    /// Reads `summaries/<name>.json.gz` of the golden data, where `name` is `<model>.<variant>.<component>`.
    ///
    /// # Panics
    /// When the file is missing or is not such a dump.
    #[must_use]
    #[track_caller]
    pub fn read(golden: &Path, name: &str) -> Self {
        let path = golden.join("summaries").join(format!("{name}.json.gz"));
        let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json: Value =
            serde_json::from_reader(GzDecoder::new(file)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let main = &json["mil"]["functions"]["main"];
        Self {
            specification_version: json["specificationVersion"].as_u64().unwrap_or_default(),
            opset: text(&main["opset"]),
            inputs: features(&json["inputs"]),
            outputs: features(&json["outputs"]),
            ops: list(&main["ops"])
                .iter()
                .map(|op| SummaryOp { kind: text(&op["type"]), outputs: features(&op["outputs"]) })
                .collect(),
            json,
        }
    }

    /// Number of ops of each type, constants included.
    #[must_use]
    pub fn op_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for op in &self.ops {
            *counts.entry(op.kind.clone()).or_default() += 1;
        }
        counts
    }

    /// Number of ops that compute something when the model runs: all but `const` and `constexpr_*`.
    #[must_use]
    pub fn n_runtime_ops(&self) -> usize {
        self.ops.iter().filter(|op| op.kind != "const" && !op.kind.starts_with("constexpr_")).count()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn features(value: &Value) -> Vec<Feature> {
    let size = |dim: &Value| dim.as_u64().and_then(|dim| usize::try_from(dim).ok());
    list(value)
        .iter()
        .map(|feature| Feature {
            name: text(&feature["name"]),
            dtype: text(&feature["dtype"]),
            shape: list(&feature["shape"]).iter().filter_map(size).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_the_ops_that_its_own_histogram_counts() {
        let Some(golden) = crate::golden() else { return };
        let summary = Summary::read(&golden, "tiny-sd15.split_einsum.vae_decoder");
        let own = summary.json["mil"]["functions"]["main"]["op_histogram"].as_object().expect("histogram");
        let counted: Vec<_> = summary.op_counts().into_iter().collect();
        let listed: BTreeMap<_, _> = own.iter().map(|(k, n)| (k.clone(), n.as_u64().unwrap_or(0) as usize)).collect();
        assert_eq!(counted, listed.into_iter().collect::<Vec<_>>());
        assert_eq!((summary.specification_version, summary.opset.as_str()), (7, "CoreML6"));
        assert_eq!(summary.n_runtime_ops(), 1013 - 609);
        let z = Feature { name: "z".into(), dtype: "float16".into(), shape: vec![1, 4, 16, 16] };
        assert_eq!(summary.inputs, [z]);
    }
}
