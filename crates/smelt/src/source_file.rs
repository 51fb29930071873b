//! A file that a model's weights came from, and what people call it by.

use sd_checkpoint::{SourcePart, WeightFile};
use serde::{Deserialize, Serialize};

/// Digits of the shortest hash that names a file.
const MIN_DIGITS: usize = 8;

/// The hashes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHashes {
    /// SHA-256 of all of it.
    pub(crate) sha256: Hex<64>,
    /// AutoV1; a file that ends before has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auto_v1: Option<Hex<8>>,
    /// AutoV3, of a LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auto_v3: Option<Hex<12>>,
}

/// Hexadecimal digits in lower case, so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hex<const N: usize>(pub(crate) String);

impl<const N: usize> TryFrom<String> for Hex<N> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && text.len() == N { Ok(Self(text)) } else { Err(format!("{text:?} is no hash of {N} digits")) }
    }
}

impl<const N: usize> From<Hex<N>> for String {
    fn from(hex: Hex<N>) -> Self {
        hex.0
    }
}

impl<const N: usize> Hex<N> {
    /// The first digits of a longer hash; none of one that is no hash.
    pub(crate) fn first_of(text: &str) -> Option<Self> {
        Self::try_from(text.get(..N)?.to_ascii_lowercase()).ok()
    }
}

impl FileHashes {
    /// A file of which nothing else is known.
    pub(crate) const fn of_sha256(sha256: Hex<64>) -> Self {
        Self { sha256, auto_v1: None, auto_v3: None }
    }

    /// SHA-256 of the whole file, 64 digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256.0
    }

    /// What Automatic1111 called a checkpoint until 2023, 8 digits; none of a file of 1 MiB or less.
    #[must_use]
    pub fn auto_v1(&self) -> Option<&str> {
        self.auto_v1.as_ref().map(|hex| hex.0.as_str())
    }

    /// Automatic1111's `Model hash`: the first 10 digits of [`FileHashes::sha256`].
    #[must_use]
    pub fn auto_v2(&self) -> &str {
        &self.sha256.0[..10]
    }

    /// What Automatic1111 calls a LoRA, 12 digits; none of other files.
    #[must_use]
    pub fn auto_v3(&self) -> Option<&str> {
        self.auto_v3.as_ref().map(|hex| hex.0.as_str())
    }

    /// Whether `hash` is one of this file's: the first digits of any of them, at least 8, in either case.
    #[must_use]
    pub fn is_called(&self, hash: &str) -> bool {
        let hash = hash.trim().to_ascii_lowercase();
        let mut own = [Some(self.sha256()), self.auto_v1(), self.auto_v3()].into_iter().flatten();
        hash.len() >= MIN_DIGITS && own.any(|digits| digits.starts_with(&hash))
    }
}

/// A file that a model's weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// What it is.
    pub part: SourcePart,
    /// Its name; within a checkpoint that is a folder, its path there.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its hashes, as far as they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<FileHashes>,
}

impl SourceFile {
    /// A file whose hashes nobody asked for yet.
    pub(crate) fn of(file: WeightFile) -> Self {
        Self { part: file.part, file: file.name, bytes: file.bytes, hashes: None }
    }

    /// Whether all of a checkpoint, or of what was added to one, is this file, which is then what people call by its hash.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.file.contains('/')
    }
}

/// What Automatic1111 writes as `Model hash` for a model of these files; none where it is not one file, or not known yet.
#[must_use]
pub fn model_hash(files: &[SourceFile]) -> Option<&str> {
    let mut own = files.iter().filter(|file| file.part == SourcePart::Checkpoint);
    match (own.next(), own.next()) {
        (Some(only), None) if only.is_whole() => only.hashes.as_ref().map(FileHashes::auto_v2),
        _ => None,
    }
}
