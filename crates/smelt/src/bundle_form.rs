//! What the models of a bundle are, a folder that Apple's Swift package reads.

use serde::Serialize;

/// What the models of a bundle are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleForm {
    /// Compiled models (`.mlmodelc`), which programs for bundles load.
    Compiled,
    /// Packages under the same names, to be compiled on a Mac.
    Packages,
}

impl BundleForm {
    /// What the names of its models end with.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Compiled => "mlmodelc",
            Self::Packages => "mlpackage",
        }
    }
}
