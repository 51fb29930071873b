//! What people call a file by, as data.

use serde::Serialize;

use crate::hashes::{FileHashes, SourceFile, SourcePart};

/// A file that weights came from, and its hashes as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashFacts {
    /// What it is.
    pub part: SourcePart,
    /// Its name; within a checkpoint that is a folder, its path there.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of all of it.
    pub sha256: Option<String>,
    /// What Automatic1111 called a checkpoint until 2023.
    pub auto_v1: Option<String>,
    /// Automatic1111's `Model hash`, the first digits of SHA-256.
    pub auto_v2: Option<String>,
    /// What Automatic1111 calls a LoRA.
    pub auto_v3: Option<String>,
}

impl From<&SourceFile> for HashFacts {
    fn from(source: &SourceFile) -> Self {
        let of = |hash: fn(&FileHashes) -> Option<&str>| {
            source.hashes.as_ref().and_then(|hashes| hash(hashes).map(str::to_owned))
        };
        Self {
            part: source.part,
            file: source.file.clone(),
            bytes: source.bytes,
            sha256: of(|hashes| Some(hashes.sha256())),
            auto_v1: of(FileHashes::auto_v1),
            auto_v2: of(|hashes| Some(hashes.auto_v2())),
            auto_v3: of(FileHashes::auto_v3),
        }
    }
}

impl HashFacts {
    /// Of several files.
    #[must_use]
    pub fn of(sources: &[SourceFile]) -> Vec<Self> {
        sources.iter().map(Self::from).collect()
    }
}
