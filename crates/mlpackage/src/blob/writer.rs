//! Writes blobs one after another, in bounded memory.

use std::io::{Seek, SeekFrom, Write};

use mil::DType;

use super::{ALIGNMENT, SENTINEL, VERSION, align, dtype_code};
use crate::error::{BlobFault, Error, IoContext};

/// Writes a weight file. The caller decides what is written once and shared.
///
/// The number of blobs is patched in by [`BlobWriter::finish`]; a file whose writer never got there counts none.
#[derive(Debug)]
pub struct BlobWriter<W> {
    out: W,
    file: String,
    position: u64,
    n_blobs: u32,
    /// Bytes promised and not yet written: a blob was begun and dropped.
    open: Option<(u64, u64)>,
}

/// One blob that is being written; see [`BlobWriter::begin`].
#[derive(Debug)]
#[must_use = "a blob counts only when it is finished"]
pub struct BlobSink<'w, W> {
    writer: &'w mut BlobWriter<W>,
    plan: BlobPlan,
    written: u64,
}

impl<W: Write + Seek> BlobWriter<W> {
    /// Begins a file in `out`, which is empty; `file` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(out: W, file: impl Into<String>) -> Result<Self, Error> {
        let mut writer = Self { out, file: file.into(), position: 0, n_blobs: 0, open: None };
        writer.put(&header(0))?;
        Ok(writer)
    }

    /// Begins a blob of `n_elements` elements, whose packed bytes then go into the returned sink.
    ///
    /// # Errors
    /// When weight files cannot hold the type, the file would be too large, or the blob before was not finished.
    pub fn begin(&mut self, dtype: DType, n_elements: usize) -> Result<BlobSink<'_, W>, Error> {
        self.check_closed()?;
        let plan = BlobPlan::after(self.position, dtype, n_elements).map_err(|fault| self.error(fault))?;
        if self.n_blobs == u32::MAX {
            return Err(self.error(BlobFault::TooLarge));
        }
        let gap = [0; ALIGNMENT as usize];
        let n_gap = usize::try_from(plan.offset - self.position).expect("invariant: less than 64");
        self.put(&gap[..n_gap])?;
        self.put(&plan.record())?;
        self.open = Some((plan.size, 0));
        Ok(BlobSink { plan, written: 0, writer: self })
    }

    /// The output.
    pub(crate) const fn get_ref(&self) -> &W {
        &self.out
    }

    /// Hands everything written so far to the file, whose length is returned; the header counts nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`], or when the last blob was not finished.
    pub(crate) fn flush(&mut self) -> Result<u64, Error> {
        self.check_closed()?;
        self.out.flush().at("write", self.file.as_ref())?;
        Ok(self.position)
    }

    /// Writes the number of blobs into the header and hands the output back, flushed.
    ///
    /// # Errors
    /// [`Error::Io`], or when the last blob was not finished.
    pub fn finish(mut self) -> Result<W, Error> {
        self.check_closed()?;
        let path = self.file.clone();
        let path = path.as_ref();
        self.out.seek(SeekFrom::Start(0)).at("seek in", path)?;
        self.out.write_all(&header(self.n_blobs)).at("write", path)?;
        self.out.seek(SeekFrom::End(0)).at("seek in", path)?;
        self.out.flush().at("write", path)?;
        Ok(self.out)
    }

    fn check_closed(&self) -> Result<(), Error> {
        match self.open {
            None => Ok(()),
            Some((expected, actual)) => Err(self.error(BlobFault::Written { expected, actual })),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).at("write", self.file.as_ref())?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn error(&self, fault: BlobFault) -> Error {
        Error::Blob { file: self.file.clone(), offset: self.position, fault }
    }
}

impl<W: Write + Seek> BlobSink<'_, W> {
    /// Where the blob lies.
    pub(crate) const fn plan(&self) -> BlobPlan {
        self.plan
    }

    /// Appends bytes of the blob.
    ///
    /// # Errors
    /// [`Error::Io`], or when more bytes come than the type and the count say; none of them is written then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let actual = self.written + bytes.len() as u64;
        if actual > self.plan.size {
            return Err(self.writer.error(BlobFault::Written { expected: self.plan.size, actual }));
        }
        self.writer.put(bytes)?;
        self.written = actual;
        self.writer.open = Some((self.plan.size, actual));
        Ok(())
    }

    /// Closes the blob and returns the offset by which a model refers to it.
    ///
    /// # Errors
    /// When bytes are missing.
    pub fn finish(self) -> Result<u64, Error> {
        if self.written != self.plan.size {
            return Err(self.writer.error(BlobFault::Written { expected: self.plan.size, actual: self.written }));
        }
        self.writer.open = None;
        self.writer.n_blobs += 1;
        Ok(self.plan.offset)
    }
}

/// Where the next blob goes, known before anything of it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobPlan {
    /// Offset of the record.
    pub(crate) offset: u64,
    /// Size of the data in bytes.
    pub(crate) size: u64,
    code: u32,
    padding: u64,
}

impl BlobPlan {
    /// The blob that follows when `position` bytes are written.
    pub(crate) fn after(position: u64, dtype: DType, n_elements: usize) -> Result<Self, BlobFault> {
        let code = dtype_code(dtype).ok_or(BlobFault::NotStorable(dtype))?;
        let size = dtype.byte_len(n_elements).ok_or(BlobFault::TooLarge)? as u64;
        let offset = align(position).ok_or(BlobFault::TooLarge)?;
        offset.checked_add(ALIGNMENT).and_then(|data| data.checked_add(size)).ok_or(BlobFault::TooLarge)?;
        let used_bits = (n_elements % 8 * dtype.bits()) % 8;
        Ok(Self { offset, size, code, padding: ((8 - used_bits) % 8) as u64 })
    }

    /// Offset just behind the data.
    pub(crate) const fn end(&self) -> u64 {
        self.offset + ALIGNMENT + self.size
    }

    fn record(&self) -> [u8; 64] {
        let mut record = [0; 64];
        record[..4].copy_from_slice(&SENTINEL.to_le_bytes());
        record[4..8].copy_from_slice(&self.code.to_le_bytes());
        record[8..16].copy_from_slice(&self.size.to_le_bytes());
        record[16..24].copy_from_slice(&(self.offset + ALIGNMENT).to_le_bytes());
        record[24..32].copy_from_slice(&self.padding.to_le_bytes());
        record
    }
}

fn header(n_blobs: u32) -> [u8; 64] {
    let mut header = [0; 64];
    header[..4].copy_from_slice(&n_blobs.to_le_bytes());
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header
}
