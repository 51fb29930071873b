//! Zip archives, as PyTorch writes them: what lies in them as it is, by name, without copying a byte.
//!
//! What it deliberately does not do: unpack what is compressed, or compare checksums, which needs all of a file to be read.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Files in an archive; PyTorch's have one for each tensor and a dozen others.
const MAX_FILES: usize = 1 << 18;

/// The files of an archive by name, and the bytes of those that are neither compressed nor encrypted.
pub(crate) type Files = BTreeMap<String, Option<Bytes>>;

/// A file as the table of contents describes it.
struct Entry {
    name: String,
    is_plain: bool,
    /// Bytes that it takes in the archive.
    stored: usize,
    /// Where its own header is.
    local: usize,
}

/// Where the table of contents is.
struct Table {
    n_files: usize,
    at: usize,
}

/// Lists an archive.
///
/// PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.
///
/// # Errors
/// In words, for one that is cut off, disagrees with itself, or whose files overlap.
pub(crate) fn list(bytes: &Bytes) -> Result<Files, String> {
    let archive = Archive { bytes };
    let table = archive.table()?;
    if table.n_files > MAX_FILES {
        return Err(format!("it has {} files, and no model has more than {MAX_FILES}", table.n_files));
    }
    let (mut at, mut files, mut places) = (table.at, Files::new(), Vec::new());
    for _ in 0..table.n_files {
        let (entry, next) = archive.entry(at)?;
        at = next;
        let range = archive.range(&entry)?;
        places.push((entry.local, range.end));
        let name = entry.name.clone();
        if files.insert(entry.name, entry.is_plain.then(|| bytes.slice(range))).is_some() {
            return Err(format!("{name} is in it twice"));
        }
    }
    places.sort_unstable();
    match places.windows(2).all(|pair| pair[0].1 <= pair[1].0) {
        true => Ok(files),
        false => Err("files in it overlap".to_owned()),
    }
}

struct Archive<'a> {
    bytes: &'a [u8],
}

const CUT_OFF: &str = "it is cut off";
const DAMAGED: &str = "its table of contents is damaged";

impl Archive<'_> {
    fn u16_at(&self, at: usize) -> Option<usize> {
        Some(u16::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?).into())
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn u64_at(&self, at: usize) -> Option<usize> {
        usize::try_from(u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?)).ok()
    }

    fn starts(&self, at: usize, mark: &[u8; 4]) -> bool {
        self.bytes.get(at..).is_some_and(|rest| rest.starts_with(mark))
    }

    /// The end of the archive says where its table is; where numbers are too large for it, a second end before it does.
    fn table(&self) -> Result<Table, String> {
        const END_BYTES: usize = 22;
        const LOCATOR_BYTES: usize = 20;
        let last = self.bytes.len().checked_sub(END_BYTES).ok_or(CUT_OFF)?;
        let is_end = |&at: &usize| self.starts(at, b"PK\x05\x06") && self.u16_at(at + 20) == Some(last - at);
        let end = (last.saturating_sub(0xffff)..=last).rev().find(is_end).ok_or(CUT_OFF)?;
        let (n_files, at) = self.u16_at(end + 10).zip(self.u32_at(end + 16)).ok_or(CUT_OFF)?;
        if n_files != 0xffff && at != u32::MAX {
            return Ok(Table { n_files, at: at as usize });
        }
        let locator = end.checked_sub(LOCATOR_BYTES).filter(|&at| self.starts(at, b"PK\x06\x07")).ok_or(DAMAGED)?;
        let large = self.u64_at(locator + 8).filter(|&at| self.starts(at, b"PK\x06\x06")).ok_or(DAMAGED)?;
        let numbers = self.u64_at(sum([large, 32])).zip(self.u64_at(sum([large, 48])));
        numbers.map(|(n_files, at)| Table { n_files, at }).ok_or_else(|| DAMAGED.to_owned())
    }

    /// One line of the table, and where the next is.
    fn entry(&self, at: usize) -> Result<(Entry, usize), String> {
        const ENTRY_BYTES: usize = 46;
        let read = || {
            let (u16_of, u32_of) = (|n| self.u16_at(sum([at, n])), |n| self.u32_at(sum([at, n])));
            let sizes = [u32_of(24)?, u32_of(20)?, u32_of(42)?];
            Some(((u16_of(8)?, u16_of(10)?), sizes, [u16_of(28)?, u16_of(30)?, u16_of(32)?]))
        };
        let ((flags, method), sizes, lengths) = read().filter(|_| self.starts(at, b"PK\x01\x02")).ok_or(DAMAGED)?;
        let [name_bytes, extra_bytes, comment_bytes] = lengths;
        let name_at = sum([at, ENTRY_BYTES]);
        let extra_at = sum([name_at, name_bytes]);
        let next = sum([extra_at, extra_bytes, comment_bytes]);
        let name = self.bytes.get(name_at..extra_at).and_then(|name| std::str::from_utf8(name).ok()).ok_or(DAMAGED)?;
        let extra = self.bytes.get(extra_at..sum([extra_at, extra_bytes])).ok_or(DAMAGED)?;
        let [size, stored, local] = large_numbers(sizes, extra).ok_or(DAMAGED)?;
        let is_plain = method == 0 && flags & 1 == 0 && stored == size;
        Ok((Entry { name: name.to_owned(), is_plain, stored, local }, next))
    }

    /// Where the bytes of a file are: behind its own header, which must have the same name.
    fn range(&self, entry: &Entry) -> Result<std::ops::Range<usize>, String> {
        const LOCAL_BYTES: usize = 30;
        let Entry { name, local, stored, .. } = entry;
        let outside = || format!("{name} lies outside of it");
        let lengths = self.u16_at(sum([*local, 26])).zip(self.u16_at(sum([*local, 28])));
        let (name_bytes, extra_bytes) = lengths.filter(|_| self.starts(*local, b"PK\x03\x04")).ok_or_else(outside)?;
        let name_at = sum([*local, LOCAL_BYTES]);
        if self.bytes.get(name_at..sum([name_at, name_bytes])) != Some(name.as_bytes()) {
            return Err(format!("{name} has another name where it lies"));
        }
        let start = sum([name_at, name_bytes, extra_bytes]);
        let range = start..sum([start, *stored]);
        if range.end > self.bytes.len() { Err(outside()) } else { Ok(range) }
    }
}

/// Numbers of 32 bits; in the place of each that is too large, one of 64 bits in the extra field with the number 1.
fn large_numbers(numbers: [u32; 3], mut extra: &[u8]) -> Option<[usize; 3]> {
    let mut large: &[u8] = &[];
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let (id, n) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]).into());
        let Some((field, after)) = rest.split_at_checked(n) else { break };
        if id == 1 {
            large = field;
        }
        extra = after;
    }
    let mut all = [0; 3];
    for (slot, number) in all.iter_mut().zip(numbers) {
        *slot = match number {
            u32::MAX => {
                let (word, rest) = large.split_first_chunk()?;
                large = rest;
                usize::try_from(u64::from_le_bytes(*word)).ok()?
            }
            small => small as usize,
        };
    }
    Some(all)
}

/// Places in a file, whose numbers are untrusted: what is beyond all addresses is beyond the file.
fn sum<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}
