//! Reads blobs out of a memory-mapped file, without copying them.

use std::{collections::BTreeSet, fs::File, io, path::Path};

use mil::{Bytes, DType};
use safe_files::{FileKind, Residue};

use super::{ALIGNMENT, SENTINEL, VERSION, align, dtype_of_code};
use crate::error::{BlobFault, Error, IoContext};

/// A weight file.
#[derive(Debug, Clone)]
pub struct BlobFile {
    file: String,
    bytes: Bytes,
    count: u32,
}

/// One blob.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub n_elements: usize,
    /// The data, packed, still in the file.
    pub data: Bytes,
    /// Offset just behind the data.
    end: u64,
}

impl BlobFile {
    /// Maps the file at `path`; `name` stands in messages.
    ///
    /// # Errors
    /// As [`BlobFile::new`], and [`Error::Io`].
    pub fn open(path: &Path, name: impl Into<String>) -> Result<Self, Error> {
        Self::new(name, map_file(path)?)
    }

    /// A weight file that consists of `bytes`.
    ///
    /// # Errors
    /// When the header is not that of version 2, or counts more blobs than there can be.
    pub fn new(name: impl Into<String>, bytes: Bytes) -> Result<Self, Error> {
        let (file, n_bytes) = (name.into(), bytes.len() as u64);
        let fault = |fault| Err(Error::Blob { file: file.clone(), offset: 0, fault });
        if n_bytes < ALIGNMENT {
            return fault(BlobFault::TooShort(n_bytes));
        }
        let (count, version) = (u32_at(&bytes, 0), u32_at(&bytes, 4));
        if version != VERSION {
            return fault(BlobFault::Version(version));
        }
        if u64::from(count) > (n_bytes - ALIGNMENT) / ALIGNMENT {
            return fault(BlobFault::Count { count, n_bytes });
        }
        Ok(Self { file, bytes, count })
    }

    /// Number of blobs, as the header has it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The blob whose record begins at `offset`.
    ///
    /// # Errors
    /// [`Error::Blob`] when there is no acceptable record.
    pub fn blob(&self, offset: u64) -> Result<Blob, Error> {
        self.parse(offset).map_err(|fault| Error::Blob { file: self.file.clone(), offset, fault })
    }

    /// Offsets of all records, by the rule that each follows the data of the one before at the next multiple of 64.
    pub fn offsets(&self) -> impl Iterator<Item = Result<u64, Error>> + '_ {
        let mut next = Some(ALIGNMENT);
        (0..self.count).map_while(move |_| {
            let offset = next?;
            Some(
                self.blob(offset)
                    .map(|blob| {
                        next = align(blob.end);
                        offset
                    })
                    .inspect_err(|_| next = None),
            )
        })
    }

    /// Checks that the blobs at these offsets do not overlap, and are no more than the header counts.
    ///
    /// # Errors
    /// [`BlobFault::Overlap`] or [`BlobFault::Uncounted`], or those of [`BlobFile::blob`].
    pub fn check_disjoint(&self, offsets: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        let offsets: BTreeSet<u64> = offsets.into_iter().collect();
        let error = |offset, fault| Error::Blob { file: self.file.clone(), offset, fault };
        if offsets.len() > self.count as usize {
            return Err(error(0, BlobFault::Uncounted { used: offsets.len(), count: self.count }));
        }
        let mut before: Option<(u64, u64)> = None;
        for offset in offsets {
            if let Some((other, end)) = before
                && offset < end
            {
                return Err(error(offset, BlobFault::Overlap(other)));
            }
            before = Some((offset, self.blob(offset)?.end));
        }
        Ok(())
    }

    fn parse(&self, offset: u64) -> Result<Blob, BlobFault> {
        let n_bytes = self.n_bytes();
        if offset < ALIGNMENT || !offset.is_multiple_of(ALIGNMENT) {
            return Err(BlobFault::Misaligned);
        }
        let record_end = offset.checked_add(ALIGNMENT).filter(|&end| end <= n_bytes);
        let record_end = record_end.ok_or(BlobFault::OutOfRange(n_bytes))?;
        let at = to_usize(offset);
        let sentinel = u32_at(&self.bytes, at);
        if sentinel != SENTINEL {
            return Err(BlobFault::Sentinel(sentinel));
        }
        let code = u32_at(&self.bytes, at + 4);
        let dtype = dtype_of_code(code).ok_or(BlobFault::Dtype(code))?;
        let [size, data_offset, padding] = [8, 16, 24].map(|i| u64_at(&self.bytes, at + i));
        if data_offset < record_end || !data_offset.is_multiple_of(ALIGNMENT) || data_offset > n_bytes {
            return Err(BlobFault::DataOffset(data_offset));
        }
        let end = data_offset.checked_add(size).filter(|&end| end <= n_bytes);
        let end = end.ok_or(BlobFault::DataOutOfRange { data_offset, size, n_bytes })?;
        let n_elements = elements(dtype, size, padding).ok_or(BlobFault::Size { size, padding, dtype })?;
        Ok(Blob { dtype, n_elements, data: self.bytes.slice(to_usize(data_offset)..to_usize(end)), end })
    }
}

/// How many elements `size` bytes hold; `size` is already known to lie in the file.
fn elements(dtype: DType, size: u64, padding: u64) -> Option<usize> {
    let size = usize::try_from(size).ok()?;
    let bits = dtype.bits();
    if bits >= 8 {
        return size.is_multiple_of(bits / 8).then(|| size / (bits / 8));
    }
    let padding = usize::try_from(padding).ok().filter(|&p| p < 8)?;
    let n_bits = size.checked_mul(8)?.checked_sub(padding)?;
    n_bits.is_multiple_of(bits).then(|| n_bits / bits)
}

/// A file's bytes, mapped.
pub(crate) fn map_file(path: &Path) -> Result<Bytes, Error> {
    // A pipe would be waited for.
    if !std::fs::metadata(path).at("open", path)?.is_file() {
        return Err(io::Error::other("it is no regular file")).at("map", path);
    }
    let file = File::open(path).at("open", path)?;
    if file.metadata().at("read", path)?.len() == 0 {
        // An empty file cannot be mapped on every platform.
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is read-only and private to this process. Should another process truncate or change the
    // file while it is mapped, reads see other bytes or the process is ended by a signal; that is the accepted price
    // of not copying gigabytes, and the same for every user of memory-mapped weights.
    let map = unsafe { memmap2::Mmap::map(&file) }.at("map", path)?;
    // Neither a model nor a weight file can begin so, whatever it holds.
    match safe_files::kind_of(&map) {
        Some(kind @ (FileKind::LfsPointer | FileKind::Html)) => {
            Err(safe_files::ReadError::Kind { path: path.to_path_buf(), kind }.into())
        }
        _ => Ok(Bytes::from_owner(map)),
    }
}

/// The bytes of a growing weight file from the first record to `end`, mapped.
///
/// The file is one of ours that only grows: behind `end`, and in its header, which is therefore left out.
/// `residue` is dropped with the last view.
pub(crate) fn map_records(path: &Path, end: u64, residue: Residue) -> Result<Bytes, Error> {
    let n_bytes = end.checked_sub(ALIGNMENT).and_then(|n| usize::try_from(n).ok());
    let n_bytes = n_bytes.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge)).at("map", path)?;
    if n_bytes == 0 {
        return Ok(Bytes::new());
    }
    let file = File::open(path).at("open", path)?;
    // SAFETY: the mapping is read-only. The file lies in a staging directory that this process holds the lock of, and
    // its only writer appends behind `end` and rewrites the header, so no mapped byte changes. What other processes
    // might do to it is as with `map_file`.
    let map = unsafe { memmap2::MmapOptions::new().offset(ALIGNMENT).len(n_bytes).map(&file) }.at("map", path)?;
    Ok(Bytes::from_owner(Records { map, _residue: residue }))
}

/// The mapped part, and what is to be removed once it is not mapped any more: fields drop in this order.
struct Records {
    map: memmap2::Mmap,
    _residue: Residue,
}

impl AsRef<[u8]> for Records {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Offsets into a mapped file fit in the address space.
fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("invariant: checked against the length of a slice")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
