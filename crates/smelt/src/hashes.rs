//! What people call a model's files by: SHA-256, and the short hashes of Automatic1111 and Civitai.
//!
//! | name | what it is | where it stands |
//! |---|---|---|
//! | SHA-256 | of the whole file | the Hub, Civitai |
//! | AutoV1 | 8 digits of the SHA-256 of 64 KiB, 1 MiB into the file | `Model hash` of Automatic1111 until 2023 |
//! | AutoV2 | the first 10 digits of SHA-256 | `Model hash` of Automatic1111 |
//! | AutoV3 | of a LoRA: 12 digits of `sshs_model_hash`, or of the SHA-256 of what follows the header | `Lora hashes` |
//!
//! Gigabytes take seconds, so they are read when somebody asks, never by a conversion, and only once: what came of it is kept
//! in the `smelt.json` of packages, and for every file where the system keeps what can be made again, under the file's path,
//! length and time of change. A file of the Hub's cache whose name is its SHA-256 is not read for that.

mod digest;
mod find;
mod kept;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sd_checkpoint::WeightFile;
use serde::{Deserialize, Serialize};

use crate::bundle::Settings;
use crate::error::{Result, refuse};
use crate::open::{Model, Opened, Source};
use crate::watch::{Watch, warn};
use find::Places;
pub use sd_checkpoint::SourcePart;

/// Digits of the shortest hash that names a file.
const MIN_DIGITS: usize = 8;

/// The hashes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHashes {
    /// SHA-256 of all of it.
    sha256: Hex<64>,
    /// AutoV1; a file that ends before has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auto_v1: Option<Hex<8>>,
    /// AutoV3, of a LoRA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auto_v3: Option<Hex<12>>,
}

/// Hexadecimal digits in lower case, so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex<const N: usize>(String);

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
    fn first_of(text: &str) -> Option<Self> {
        Self::try_from(text.get(..N)?.to_ascii_lowercase()).ok()
    }
}

impl FileHashes {
    /// A file of which nothing else is known.
    const fn of_sha256(sha256: Hex<64>) -> Self {
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

/// How hashes are found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hashing {
    /// Where the files are that packages were made of: checkpoints, files, or folders that hold such.
    pub sources: Vec<Source>,
    /// Where hashes of files are kept; default: below the system's folder for what can be made again.
    pub cache: Option<PathBuf>,
}

impl Hashing {
    /// The hashes of a file: those that were kept, or else it is read.
    ///
    /// What cannot be kept is a warning.
    ///
    /// # Errors
    /// When it cannot be read, changes meanwhile, or the watcher breaks off; for sources, which are for packages.
    pub fn file(&self, path: &Path, part: SourcePart, watch: &mut dyn Watch) -> Result<SourceFile> {
        self.refuse_sources(path)?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let bytes =
            std::fs::metadata(path).map_err(|source| safe_files::ReadError::Io { path: path.into(), source })?;
        let hashes = Some(self.read(path, part, watch)?);
        Ok(SourceFile { part, file: name, bytes: bytes.len(), hashes })
    }

    /// Refuses what says where files are, for what is such a file itself.
    fn refuse_sources(&self, of: &Path) -> Result<()> {
        match self.sources.first() {
            Some(source) => refuse!(
                "--source {source} says which files packages were made of, and {} holds no packages; leave it out",
                of.display()
            ),
            None => Ok(()),
        }
    }

    fn read(&self, path: &Path, part: SourcePart, watch: &mut dyn Watch) -> Result<FileHashes> {
        let place = kept::Place::of(path, part, self.cache.as_deref());
        if let Some(known) = place.as_ref().and_then(kept::Place::read) {
            return Ok(known);
        }
        let hashes = digest::read(path, part, watch)?;
        match place.map(|place| place.keep(&hashes, watch)) {
            None => {
                warn(watch, "there is no place to keep hashes in; set SMELT_CACHE to a directory that can be written")?
            }
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let name = path.display();
                warn(watch, &format!("the hashes of {name} are not kept, and are computed anew: {}", error.chain()))?;
            }
        }
        Ok(hashes)
    }
}

impl Opened {
    /// The files that the weights came from with their hashes, computed where they are not known; of packages they then
    /// stand in `smelt.json`. A file of which it is not known where it is has none.
    ///
    /// Packages know their files by name and length. These are looked up in [`Hashing::sources`], and where the model
    /// is called `owner/name`, in the Hub's cache.
    ///
    /// # Errors
    /// When `smelt.json` does not say what packages were made of, for sources that do not hold it or that have no effect,
    /// when files cannot be read, and when the watcher breaks off.
    pub fn hashes(&self, hashing: &Hashing, watch: &mut dyn Watch) -> Result<Vec<SourceFile>> {
        match self.model() {
            Model::Checkpoint(checkpoint) => {
                hashing.refuse_sources(self.root())?;
                let hash = |file: WeightFile| -> Result<SourceFile> {
                    let hashes = Some(hashing.read(&file.path, file.part, watch)?);
                    Ok(SourceFile { hashes, ..SourceFile::of(file) })
                };
                checkpoint.sources().into_iter().map(hash).collect()
            }
            Model::Packages(dir) => of_packages(dir, hashing, watch),
        }
    }

    /// The same as far as they are known: no weights are read, nothing is looked for, and nothing is written.
    ///
    /// # Errors
    /// When `smelt.json` cannot be read.
    pub fn known_hashes(&self, cache: Option<&Path>) -> Result<Vec<SourceFile>> {
        match self.model() {
            Model::Checkpoint(checkpoint) => {
                let known = |file: WeightFile| {
                    let kept = kept::Place::of(&file.path, file.part, cache).and_then(|place| place.read());
                    let of_hub = || digest::name_in_hub(&file.path).map(FileHashes::of_sha256);
                    SourceFile { hashes: kept.or_else(of_hub), ..SourceFile::of(file) }
                };
                Ok(checkpoint.sources().into_iter().map(known).collect())
            }
            Model::Packages(dir) => Ok(Settings::read(dir)?.map_or_else(Vec::new, |settings| settings.sources)),
        }
    }

    /// Automatic1111's `Model hash`, where it is known without reading the model's files.
    ///
    /// # Errors
    /// As [`Opened::known_hashes`].
    pub fn known_model_hash(&self, cache: Option<&Path>) -> Result<Option<String>> {
        Ok(model_hash(&self.known_hashes(cache)?).map(str::to_owned))
    }
}

fn of_packages(dir: &Path, hashing: &Hashing, watch: &mut dyn Watch) -> Result<Vec<SourceFile>> {
    let settings = Settings::read(dir)?;
    let Some(settings) = settings.filter(|settings| !settings.sources.is_empty()) else {
        refuse!(
            "{} has no smelt.json that says which files its packages were made of; ask for the hashes of the checkpoint, or \
             convert it anew",
            dir.display()
        )
    };
    let places = Places::new(&settings, hashing)?;
    let mut files = settings.sources.clone();
    for file in files.iter_mut().filter(|file| file.hashes.is_none()) {
        if let Some(path) = places.find(file) {
            file.hashes = Some(hashing.read(&path, file.part, watch)?);
        }
    }
    if files != settings.sources
        && let Err(error) = Settings::keep(dir, &files, watch)
    {
        warn(watch, &format!("the hashes are not kept in {}: {}", dir.join("smelt.json").display(), error.chain()))?;
    }
    let unknown = files.iter().filter(|file| file.hashes.is_none()).map(|file| file.file.as_str());
    let unknown: Vec<&str> = unknown.collect();
    if !unknown.is_empty() {
        let list = unknown.join(", ");
        warn(watch, &format!("where these files are is not known, so they have no hashes; --source says it: {list}"))?;
    }
    Ok(files)
}
