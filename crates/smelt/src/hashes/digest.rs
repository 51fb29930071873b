//! Hashes of a file, computed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safe_files::ReadError;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::kept::{Stamp, name_in_hub};
use super::{FileHashes, SourcePart};
use crate::error::{Context, Result, refuse};
use crate::source_file::Hex;
use crate::watch::{Event, Progress, Unit, Watch, end, tell};

// A1111 1.10.1, modules/sd_models.py model_hash: 64 KiB from 1 MiB on, 8 digits.
const V1_START: u64 = 1 << 20;
const V1_BYTES: u64 = 1 << 16;
/// What A1111 takes for a LoRA's hash where its header has it: extensions-builtin/Lora/network.py.
const DECLARED: &str = "sshs_model_hash";
/// Longest header of a safetensors file, as the format's own reader has it.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes that are read at a time; between two the watcher is asked.
const AT_A_TIME: usize = 4 << 20;

/// What a LoRA is hashed by.
enum Body {
    /// The header says it.
    Declared(Hex<12>),
    /// From here on.
    From(u64),
    /// All of it, where it is no safetensors file.
    Whole,
}

/// Reads a file once and computes its hashes; where its name in the Hub's cache is its SHA-256, only what else is asked for.
pub(super) fn read(path: &Path, part: SourcePart, watch: &mut dyn Watch) -> Result<FileHashes> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let facts = file.metadata().map_err(io)?;
    if !facts.is_file() {
        refuse!("{} is no regular file, and has no hash", path.display());
    }
    let auto_v1 = auto_v1(&mut file, facts.len()).map_err(io)?;
    let body = if part == SourcePart::Lora { Some(body(&mut file, facts.len()).map_err(io)?) } else { None };
    let known = name_in_hub(path);
    let after = if let Some(Body::From(start)) = body { Some((start, Sha256::new())) } else { None };
    let mut running = Running { whole: known.is_none().then(Sha256::new), after };
    if running.whole.is_some() || running.after.is_some() {
        running.run(file, path, watch)?;
    }
    if Stamp::of(&std::fs::metadata(path).map_err(io)?) != Stamp::of(&facts) {
        refuse!("{} changed while it was read; wait until it is whole, and ask again", path.display());
    }
    let sha256 = known.or_else(|| running.whole.map(hex)).context("invariant: it is known or was computed")?;
    let auto_v3 = match (body, running.after) {
        (Some(Body::Declared(hex)), _) => Some(hex),
        (Some(Body::From(_)), Some((_, hash))) => Hex::first_of(&hex::<64>(hash).0),
        (Some(_), _) => Hex::first_of(&sha256.0),
        (None, _) => None,
    };
    Ok(FileHashes { sha256, auto_v1, auto_v3 })
}

/// Hashes that are computed while a file is read.
struct Running {
    whole: Option<Sha256>,
    /// Of what is from a place on.
    after: Option<(u64, Sha256)>,
}

impl Running {
    fn run(&mut self, mut file: File, path: &Path, watch: &mut dyn Watch) -> Result<()> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let what = format!("hashing {name}");
        let total = file.seek(SeekFrom::End(0)).map_err(io)?;
        file.rewind().map_err(io)?;
        let (mut buffer, mut done) = (vec![0; AT_A_TIME], 0u64);
        loop {
            tell(watch, Event::Progress(Progress { what: &what, done, total: total.max(done), unit: Unit::Bytes }))?;
            let n = file.read(&mut buffer).map_err(io)?;
            if n == 0 {
                return end(watch);
            }
            self.add(&buffer[..n], done);
            done += n as u64;
        }
    }

    fn add(&mut self, bytes: &[u8], at: u64) {
        self.whole.iter_mut().for_each(|hash| hash.update(bytes));
        if let Some((start, hash)) = &mut self.after {
            let before = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
            hash.update(&bytes[before..]);
        }
    }
}

fn auto_v1(file: &mut File, n_bytes: u64) -> std::io::Result<Option<Hex<8>>> {
    if n_bytes <= V1_START {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(V1_START))?;
    file.by_ref().take(V1_BYTES).read_to_end(&mut bytes)?;
    Ok(Hex::first_of(&hex::<64>(Sha256::new_with_prefix(&bytes)).0))
}

/// What of a LoRA's file is hashed.
fn body(file: &mut File, n_bytes: u64) -> std::io::Result<Body> {
    file.rewind()?;
    let mut length = Vec::new();
    file.by_ref().take(8).read_to_end(&mut length)?;
    let Ok(length) = <[u8; 8]>::try_from(length).map(u64::from_le_bytes) else { return Ok(Body::Whole) };
    if length > MAX_HEADER_BYTES || length.saturating_add(8) > n_bytes {
        return Ok(Body::Whole);
    }
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header)?;
    let Ok(Value::Object(header)) = serde_json::from_slice(&header) else { return Ok(Body::Whole) };
    let declared = header.get("__metadata__").and_then(|metadata| metadata.get(DECLARED)?.as_str());
    Ok(declared.and_then(Hex::first_of).map_or(Body::From(length + 8), Body::Declared))
}

fn hex<const N: usize>(hash: Sha256) -> Hex<N> {
    Hex(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
