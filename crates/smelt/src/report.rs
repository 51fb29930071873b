//! What was done, as data: what every client tells in its own words, and the fields of `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bundle_form::BundleForm;
use crate::embeddings::Word;
use crate::half_precision::Overflow;
use crate::weights_report::Summary;

/// What a conversion wrote.
#[derive(Debug, Clone, Serialize)]
pub struct ConversionReport {
    /// Folder of the checkpoint.
    pub checkpoint: String,
    /// Folder of the packages.
    pub output: String,
    /// Name of the model.
    pub model_version: String,
    /// The packages, in the order in which they were written.
    pub packages: Vec<ConvertedPackage>,
    /// Components that the checkpoint does not have.
    pub skipped: Vec<&'static str>,
    /// New words that prompts may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// Files beside the packages.
    pub files: Vec<String>,
    /// The folder of Apple's Swift package, where one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleReport>,
    /// Bytes of all packages.
    pub bytes: u64,
    /// Time for everything.
    pub seconds: f64,
}

/// A folder of Apple's Swift package.
#[derive(Debug, Clone, Serialize)]
pub struct BundleReport {
    /// Where it is.
    pub folder: String,
    /// What its models are.
    pub form: BundleForm,
    /// What is not known of its compiled models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproven: Option<&'static str>,
    /// What compiles its packages on a Mac.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile: Option<String>,
    /// The archive of it, where one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<ArchiveReport>,
}

/// An archive that was written.
#[derive(Debug, Clone, Serialize)]
pub struct ArchiveReport {
    /// Where it is.
    pub path: String,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
}

/// A package that was written.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertedPackage {
    /// What it is called where it is told of.
    #[serde(skip)]
    pub label: String,
    /// Its parts, where it was written in parts too.
    #[serde(skip)]
    pub chunks: Vec<Part>,
    /// Name of the network.
    pub component: &'static str,
    /// Sizes of the latents that were asked for; several are functions of one package.
    pub latent_sizes: Vec<String>,
    /// Samples at a time that were asked for; several are functions of one package.
    pub batches: Vec<usize>,
    /// Where it is; of one that is there in parts only, the first part.
    pub path: String,
    /// Operations of all its functions.
    pub n_operations: usize,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
    /// The weight file is that of the component's first package.
    pub is_shared: bool,
    /// Precision of weights and arithmetic.
    pub precision: &'static str,
    /// Time to convert it.
    pub convert_s: f64,
    /// Time of the check in half precision; zero where there was none.
    pub check_s: f64,
    /// Time to write it.
    pub write_s: f64,
    /// What half precision cannot hold in it, which then is in float32 unless float16 was asked for.
    pub overflow: Option<Overflow>,
}

/// What the cutting of a package wrote.
#[derive(Debug, Clone, Serialize)]
pub struct ChunkReport {
    /// The package that was cut.
    pub package: String,
    /// The parts in order, or the pipeline of them.
    pub packages: Vec<Part>,
    /// Whether the parts computed what the whole does; null when it was not asked for.
    pub identical: Option<bool>,
    /// Time for everything.
    pub seconds: f64,
}

/// A part of a package, or the pipeline of all parts.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Where it is.
    pub path: String,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
    /// Names of what it takes.
    pub inputs: Vec<String>,
    /// Names of what it gives.
    pub outputs: Vec<String>,
}

/// What a compression wrote.
#[derive(Debug, Clone, Serialize)]
pub struct CompressionReport {
    /// The packages, in the order in which they were written.
    pub packages: Vec<CompressedPackage>,
    /// Files and packages that were copied as they are.
    pub copied: Vec<String>,
    /// What was chosen, where a goal was to be met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<ChoiceReport>,
    /// Time for everything.
    pub seconds: f64,
}

/// A package with compressed weights.
#[derive(Debug, Clone, Serialize)]
pub struct CompressedPackage {
    /// Where it is.
    pub path: String,
    /// Bytes that it took.
    pub bytes_before: u64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// What became of the weights.
    #[serde(flatten)]
    pub weights: Summary,
    /// What calibration data did, where they are of this package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationUse>,
    /// Where the report is, if one was asked for.
    pub report: Option<String>,
    /// Time for it.
    pub seconds: f64,
}

/// What calibration data did to a package's weights.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CalibrationUse {
    /// Samples that the package was run with.
    pub samples: usize,
    /// Weights whose codes they decided.
    pub weights: usize,
}

/// What was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct ChoiceReport {
    /// Number of weights by scheme.
    pub schemes: BTreeMap<String, usize>,
    /// Whether losses were estimated from the weights alone.
    pub estimated: bool,
    /// Sum of the losses: mean squared error at the output, or noise to signal of the weights where they are estimated.
    pub loss: f64,
    /// Peak signal-to-noise ratio at the output that the sum comes to, in dB; where losses were measured.
    pub psnr_db: Option<f64>,
    /// Bytes of all files that are written, for [`Goal::Fit`](crate::Goal::Fit); at most this.
    pub planned_bytes: Option<u64>,
    /// What is not proven of the choice; 0 where it is known to be the best.
    pub gap: f64,
}
