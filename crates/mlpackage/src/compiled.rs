//! Compiled models (`.mlmodelc`): what Core ML loads, and what its compiler makes of a package.
//!
//! A compiled model is a directory. Its program stands in `model.mil` as text, its interface in `coremldata.bin`, and
//! its weights are the package's own files:
//!
//! ```text
//! Unet.mlmodelc                        Pipeline.mlmodelc
//!   model.mil                            coremldata.bin, metadata.json, analytics/…
//!   coremldata.bin                       modelNames/coremldata.bin   where the pipeline names its models
//!   metadata.json                        model0/{model.mil, coremldata.bin, analytics/…, weights/…}
//!   analytics/coremldata.bin             model1/…
//!   weights/weight.bin
//! ```
//! Nothing is optimised on the way: the text has the operations of the model file, one for one, so reading it gives the
//! program that the package gives, but for names of constants. They are written by [`crate::compile()`].
//!
//! Source of the formats: files that coremlc 3401 to 3600 wrote, for specification versions 6 to 9; nobody has
//! documented them.

pub(crate) mod container;
mod read;

pub(crate) use read::{Compiled, open};

use std::path::Path;

/// Of which files a compiled model consists.
pub(crate) const MODEL_MIL: &str = "model.mil";
pub(crate) const COREML_DATA: &str = "coremldata.bin";
pub(crate) const METADATA: &str = "metadata.json";
pub(crate) const ANALYTICS: &str = "analytics/coremldata.bin";
pub(crate) const MODEL_NAMES: &str = "modelNames/coremldata.bin";
/// Where models of neural networks of Core ML 1 to 4 keep their layers.
const NEURAL_NETWORK: &str = "model.espresso.net";

/// What the compiler adds to a program's `buildInfo`: of itself, and of the component that printed the text.
pub(crate) const COMPILER: &str = "coremlc-version";
pub(crate) const COMPONENT: &str = "coremlc-component-MIL";
pub(crate) const BUILD_INFO: &str = "buildInfo";
/// The attribute that the compiler gives a function whose inputs have flexible shapes.
pub(crate) const FLEXIBLE: &str = "FlexibleShapeInformation";

/// Numbers of the fields that say a model's type.
pub(crate) const PIPELINE: u32 = 202;
const NEURAL_NETWORKS: [u32; 3] = [303, 403, 500];
pub(crate) const ML_PROGRAM: u32 = 502;

/// Whether a directory is a compiled model, of whatever kind.
#[must_use]
pub fn is_compiled(path: &Path) -> bool {
    path.is_dir() && [MODEL_MIL, COREML_DATA, NEURAL_NETWORK].iter().any(|file| path.join(file).is_file())
}

/// Reads any bytes as each of the files with numbers.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(read) = container::read(bytes) {
        let again = read.write(container::GENERIC);
        assert!(container::read(&again).is_ok(), "what was written must be readable");
    }
    let _ = container::read_names(bytes);
}
