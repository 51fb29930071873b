//! Hashes of files that were computed before: a small file for each, below the folder for what can be made again.
//!
//! ```text
//! CACHE/smelt/hashes/HASH.json     HASH is of the file's real path
//! ```
//!
//! They count for a file as long and as old as it was; one that changed a moment ago is not kept, because a file system whose
//! clock is coarse would not tell the next change.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use safe_files::Outputs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileHashes, SourcePart};
use crate::error::Result;
use crate::source_file::Hex;
use crate::watch::{Watch, write_file};

/// Version of the form of these files.
const FORMAT: u32 = 1;
/// They are a few hundred bytes.
const MAX_BYTES: u64 = 1 << 16;
/// How old a change must be: FAT's clock goes in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells a file from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    bytes: u64,
    /// Since 1970, in seconds and nanoseconds.
    changed: Option<(u64, u32)>,
}

impl Stamp {
    pub(super) fn of(facts: &Metadata) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let changed = facts.modified().ok().and_then(since).map(|d| (d.as_secs(), d.subsec_nanos()));
        Self { bytes: facts.len(), changed }
    }
}

/// The SHA-256 that a file's real name is in the Hub's cache, where large files are called so.
pub(super) fn name_in_hub(path: &Path) -> Option<Hex<64>> {
    let real = path.canonicalize().ok()?;
    let is_blob = real.parent()?.file_name()? == "blobs";
    if is_blob { Hex::try_from(real.file_name()?.to_str()?.to_owned()).ok() } else { None }
}

/// What is kept of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    path: String,
    #[serde(flatten)]
    stamp: Stamp,
    hashes: FileHashes,
}

/// Where the hashes of a file are kept.
pub(super) struct Place {
    /// The file itself, without links.
    file: PathBuf,
    part: SourcePart,
    folder: PathBuf,
    stamp: Stamp,
    is_settled: bool,
}

impl Place {
    /// None where there is no folder for such things, or no such file.
    pub(super) fn of(path: &Path, part: SourcePart, cache: Option<&Path>) -> Option<Self> {
        let cache = cache.map(Path::to_owned).or_else(dirs::cache_dir)?;
        let file = path.canonicalize().ok()?;
        let facts = std::fs::metadata(&file).ok()?;
        let age = facts.modified().ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        let is_settled = age.is_some_and(|age| age > SETTLED);
        Some(Self { file, part, folder: cache.join("smelt").join("hashes"), stamp: Stamp::of(&facts), is_settled })
    }

    fn path(&self) -> PathBuf {
        let hash = Sha256::digest(self.file.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.json"))
    }

    /// What is kept of the file as it is now; what cannot be read is as good as none.
    pub(super) fn read(&self) -> Option<FileHashes> {
        let kept: Kept = serde_json::from_slice(&safe_files::read(&self.path(), MAX_BYTES).ok()?).ok()?;
        let is_of_it = kept.format == FORMAT && kept.path == self.file.to_string_lossy() && kept.stamp == self.stamp;
        // What was read as another part has no AutoV3, and the Hub's name is truer than what was kept.
        let is_enough = self.part != SourcePart::Lora || kept.hashes.auto_v3.is_some();
        let is_true = name_in_hub(&self.file).is_none_or(|name| name == kept.hashes.sha256);
        (is_of_it && is_enough && is_true && self.stamp.changed.is_some()).then_some(kept.hashes)
    }

    /// Keeps what was computed.
    pub(super) fn keep(&self, hashes: &FileHashes, watch: &mut dyn Watch) -> Result<()> {
        if !self.is_settled {
            return Ok(());
        }
        let path = self.file.to_string_lossy().into_owned();
        let json = serde_json::to_vec(&Kept { format: FORMAT, path, stamp: self.stamp, hashes: hashes.clone() })?;
        let mut outputs = Outputs::new();
        let mut folder = outputs.folder("the hashes", &self.folder)?;
        let file = outputs.file("the hashes", &self.path())?;
        folder.make()?;
        write_file(&file, watch, |out| Ok(out.write_all(&json)?))
    }
}
