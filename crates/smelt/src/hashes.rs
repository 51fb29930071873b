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

use crate::error::{Result, refuse};
use crate::file::name_of;
use crate::open::{Model, Opened, Source};
use crate::settings::Settings;
pub use crate::source_file::{FileHashes, SourceFile, model_hash};
use crate::watch::{Watch, warn};
use find::Places;
pub use sd_checkpoint::SourcePart;

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
        let bytes =
            std::fs::metadata(path).map_err(|source| safe_files::ReadError::Io { path: path.into(), source })?;
        let hashes = Some(self.read(path, part, watch)?);
        Ok(SourceFile { part, file: name_of(path), bytes: bytes.len(), hashes })
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
                    let of_hub = || kept::name_in_hub(&file.path).map(FileHashes::of_sha256);
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
