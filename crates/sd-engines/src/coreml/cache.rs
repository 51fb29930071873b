//! Compiled models, kept so that a package is compiled once for each build of the system.
//!
//! ```text
//! CACHE/smelt/coreml/HASH-SYSTEM.mlmodelc
//! ```
//!
//! `HASH` is of what the package is: the names and lengths of its files, all bytes of small ones (the model file is one), and
//! of large ones, which are weights, samples and the time of change.
//! Nothing here is needed: whoever removes the folder has packages compiled again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use safe_files::{Outputs, Tree, move_folder};
use sha2::{Digest, Sha256};

use super::CoreMlError;

/// Files up to this size are hashed as a whole.
const WHOLE: u64 = 32 << 20;
/// Of larger ones so many pieces of this size, from the first to the last.
const N_SAMPLES: u64 = 256;
const SAMPLE: u64 = 4096;

/// Where the compiled form of a package is kept on this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    folder: PathBuf,
    name: String,
}

impl Place {
    /// # Errors
    /// [`CoreMlError::NoCache`], and when a file of the package cannot be read.
    pub(super) fn of(package: &Path, cache: Option<&Path>, system: &str) -> Result<Self, CoreMlError> {
        let cache = cache.map(Path::to_owned).or_else(dirs::cache_dir).ok_or(CoreMlError::NoCache)?;
        let hash = hash(package, WHOLE)?;
        let name = format!("{hash}-{}.mlmodelc", as_name(system));
        Ok(Self { folder: cache.join("smelt").join("coreml"), name })
    }

    /// The compiled model's folder.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Keeps what `compile` has made somewhere, unless there is one.
    ///
    /// # Errors
    /// Those of `compile`, and [`CoreMlError::Keep`].
    pub(super) fn fill(&self, compile: impl FnOnce() -> Result<PathBuf, CoreMlError>) -> Result<PathBuf, CoreMlError> {
        let path = self.path();
        if path.is_dir() {
            return Ok(path);
        }
        let mut outputs = Outputs::new();
        let mut folder = outputs.folder("compiled models", &self.folder)?;
        // What takes minutes is not begun where its result could not be kept.
        outputs.directory("the compiled model", &path)?;
        folder.make()?;
        move_folder(&compile()?, &path)?;
        Ok(path)
    }
}

/// The words that a system calls itself by, as part of a file's name.
fn as_name(system: &str) -> String {
    let words = system.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.take(16).map(|word| &word[..word.len().min(32)]).collect::<Vec<_>>().join("-")
}

/// The hash of a package or model file, of whose files those up to `whole` bytes count as a whole.
fn hash(package: &Path, whole: u64) -> Result<String, CoreMlError> {
    let tree = Tree::read(package)?;
    let mut hash = Sha256::new();
    let mut paths: Vec<&Path> = tree.files().collect();
    if paths.is_empty() {
        paths.push(Path::new(""));
    }
    for relative in paths {
        let name = relative.to_string_lossy();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        let path = if relative.as_os_str().is_empty() { package.to_owned() } else { package.join(relative) };
        add_file(&mut hash, &path, whole).map_err(|source| CoreMlError::Read { path, source })?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn add_file(hash: &mut Sha256, path: &Path, whole: u64) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    let n_bytes = facts.len();
    hash.update(n_bytes.to_le_bytes());
    if n_bytes <= whole {
        std::io::copy(&mut file.take(n_bytes), hash)?;
        return Ok(());
    }
    let since = facts.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    hash.update(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
    let last = n_bytes.saturating_sub(SAMPLE);
    for sample in 0..N_SAMPLES {
        let at = u128::from(last) * u128::from(sample) / u128::from(N_SAMPLES - 1);
        file.seek(SeekFrom::Start(u64::try_from(at).unwrap_or(last)))?;
        std::io::copy(&mut file.by_ref().take(SAMPLE), hash)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
